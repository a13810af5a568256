#!/usr/bin/env python3
"""Writes what the fast tokenizer classes of transformers bring along when a model folder does not say it: their special tokens, and the classes that put a
post-processor of their own in place of tokenizer.json's, with what it adds; and the classes that do not have add_prefix_space false.

    tokenizer_classes.py tokenize/transformers_classes.json

classes: name without "Fast" → special tokens; "template": [add_bos_token, add_eos_token] of the classes whose constructor calls update_post_processor;
"add_prefix_space": its default where that is not false; with null the pre-tokenizer of tokenizer.json stays as it is.
models: model_type of config.json → class, where neither tokenizer_config.json nor config.json names one.
"""
import inspect
import json
import sys

import transformers
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name

NAMES = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]


def text(value):
    """The token that a constructor takes when it is given none: a text, or the AddedToken made of one."""
    return str(value) if value is not None and value is not inspect.Parameter.empty else None


def row(cls):
    out, flags, own, prefix = {}, {}, False, None
    for base in cls.__mro__:
        init = vars(base).get("__init__")
        if init is None or base is transformers.PreTrainedTokenizerFast:
            break
        parameters = inspect.signature(init).parameters
        for name in NAMES:
            if name in parameters and name not in out:
                out[name] = text(parameters[name].default)
        for name in ("add_bos_token", "add_eos_token"):
            if name in parameters and name not in flags:
                flags[name] = parameters[name].default is True
        if "add_prefix_space" in parameters and prefix is None:
            prefix = [parameters["add_prefix_space"].default]
        own = own or "update_post_processor" in inspect.getsource(init)
    out = {k: v for k, v in out.items() if v is not None}
    if own:
        out["template"] = [flags.get("add_bos_token", False), flags.get("add_eos_token", False)]
    if prefix and prefix[0] is not False:
        out["add_prefix_space"] = prefix[0]
    return out


classes, models = {}, {}
for model, (slow, fast) in TOKENIZER_MAPPING_NAMES.items():
    cls = tokenizer_class_from_name(fast) if fast else None
    if cls is None or not issubclass(cls, transformers.PreTrainedTokenizerFast):
        continue
    name = cls.__name__.removesuffix("Fast")
    classes.setdefault(name, row(cls))
    models[model] = name
classes = {k: v for k, v in classes.items() if v}
models = {k: v for k, v in models.items() if v in classes}
with open(sys.argv[1], "w") as f:
    lines = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(classes.items())]
    lines2 = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(models.items())]
    f.write('{"transformers": %s,\n"classes": {\n%s\n},\n"models": {\n%s\n}}\n' % (json.dumps(transformers.__version__), ",\n".join(lines), ",\n".join(lines2)))
