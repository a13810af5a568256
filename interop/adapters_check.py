#!/usr/bin/env python3
"""AdapterHub's library `adapters` loads bottleneck adapters that adaptflow wrote and computes the logits that adaptflow computed.

    adapters_check.py FOLDER    each FOLDER/NAME holds adapter/, peer.json (base: the base model's folder) and peer.safetensors (input_ids, logits),
                                which also may lie apart as ids.safetensors and logits.safetensors

Exits 1 where a tensor is missing or unused, a logit differs by more than 1e-3, or the adapter moves no logit.
"""
import json
import logging
import os
import sys
import warnings

import adapters
import folders
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

LIMIT = 1e-3
warnings.filterwarnings("ignore")
logging.getLogger("adapters").setLevel(logging.ERROR)


def values(folder):
    out = {}
    for name in ("peer", "ids", "logits"):
        path = os.path.join(folder, name + ".safetensors")
        if os.path.exists(path):
            out.update(load_file(path))
    return out["input_ids"], out["logits"]


@torch.no_grad()
def check(folder):
    base = json.load(open(os.path.join(folder, "peer.json")))["base"]
    ids, ours = values(folder)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager").eval()
    plain = model(input_ids=ids).logits
    adapters.init(model)
    path = os.path.join(folder, "adapter")
    loaded = model.load_adapter(path, set_active=True, use_safetensors=True)
    model.eval()
    mine, theirs = load_file(os.path.join(path, "adapter.safetensors")), dict(model.named_parameters())
    tensors = [k for k in theirs if ".adapters.%s." % loaded in k or ".shared_parameters.%s." % loaded in k or k.startswith("shared_parameters.%s." % loaded)]
    if sorted(k.split(".", 1)[1] for k in mine) != sorted(k.split(".", 1)[1] for k in tensors):
        raise ValueError("the folder has %d tensors, the library's adapter %d, or others" % (len(mine), len(tensors)))
    got = model(input_ids=ids).logits
    return float((got - ours).abs().max()), float((got - plain).abs().max()), "%2d tensors, " % len(mine)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(folders.each(sys.argv[1], "bottleneck folders in AdapterHub's adapters", LIMIT, check))
