#!/usr/bin/env python3
"""Writes what transformers' AutoTokenizer puts around texts for real tokenizers in folders as their publishers write them: class, bos_token and eos_token.

    tokenizer_families.py TOKENIZERS tokenize/testdata/families.json

TOKENIZERS has NAME/tokenizer.json of each family; the ids of texts themselves are compared elsewhere.
"""
import json
import os
import shutil
import sys
import tempfile

from transformers import AutoTokenizer

root, out = sys.argv[1:]
GPT = dict(bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>")
families = {
    "bert": dict(tokenizer_class="BertTokenizer", unk_token="[UNK]", sep_token="[SEP]", pad_token="[PAD]", cls_token="[CLS]", mask_token="[MASK]"),
    "falcon": dict(tokenizer_class="PreTrainedTokenizerFast", eos_token="<|endoftext|>"),
    "gpt2": dict(tokenizer_class="GPT2Tokenizer", **GPT),
    "llama2": dict(tokenizer_class="LlamaTokenizer", bos_token="<s>", eos_token="</s>", unk_token="<unk>", add_bos_token=True, add_eos_token=False),
    "llama3": dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>"),
    "mistral3": dict(tokenizer_class="LlamaTokenizer", bos_token="<s>", eos_token="</s>", unk_token="<unk>", add_bos_token=True, add_eos_token=False),
    "neox": dict(tokenizer_class="GPTNeoXTokenizer", **GPT),
    "phi3": dict(tokenizer_class="LlamaTokenizer", bos_token="<s>", eos_token="<|endoftext|>", pad_token="<|endoftext|>", unk_token="<unk>", add_bos_token=False, add_eos_token=False),
    "qwen2.5": dict(tokenizer_class="Qwen2Tokenizer", bos_token=None, eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token=None, add_bos_token=False),
    "roberta": dict(tokenizer_class="RobertaTokenizer"),
    "t5": dict(tokenizer_class="T5Tokenizer", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"),
}
rows = []
for name, config in families.items():
    with tempfile.TemporaryDirectory() as d:
        shutil.copy(os.path.join(root, name, "tokenizer.json"), d)
        json.dump(config, open(os.path.join(d, "tokenizer_config.json"), "w"))
        t = AutoTokenizer.from_pretrained(d)
        ids = lambda x: t(x, truncation=False)["input_ids"]
        rows.append({"family": name, "config": config, "bos": t.bos_token_id, "eos": t.eos_token_id,
                     "texts": [{"text": x, "ids_special": ids(x), "document": ids(x + (t.eos_token or ""))} for x in ("The harbour was quiet.", "Zwei Wörter\n")]})
        print(name, type(t).__name__, rows[-1]["texts"][0])
with open(out, "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n]\n")
