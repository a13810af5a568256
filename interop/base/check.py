#!/usr/bin/env python3
"""Scores a model of the embedded tokenizer on held-out text with transformers: documents with an end-of-text token after each, one after another in blocks of 256 tokens, the
mean over all but each block's first. Beside adaptflow evaluate, which isolates documents and scores the last tokens, too, it differs by a few hundredths.

    check.py MODEL heldout.jsonl.zst LIMIT

The perplexity is printed, and must be at most LIMIT.
"""
import io
import json
import math
import sys

import pyarrow
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, text, limit = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
ids = []
for line in io.TextIOWrapper(pyarrow.CompressedInputStream(text, "zstd"), encoding="utf-8"):
    ids += tokenizer(json.loads(line)["text"], verbose=False)["input_ids"] + [tokenizer.eos_token_id]
blocks = torch.tensor(ids[: len(ids) // 256 * 256]).view(-1, 256)
total = 0.0
with torch.no_grad():
    for batch in blocks.split(16):
        logits = model(batch).logits[:, :-1]
        total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="sum").item()
perplexity = math.exp(total / (len(blocks) * 255))
print(f"held-out perplexity {perplexity:.2f} of {len(blocks)} blocks, at most {limit}")
assert perplexity <= float(limit)
