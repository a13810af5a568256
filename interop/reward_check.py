#!/usr/bin/env python3
"""transformers and HF PEFT open a reward model that adaptflow trained, and score the held-out pairs as adaptflow did.

    reward_check.py RUN HELD.jsonl     RUN is the output folder of a run with objective: reward; the rows have prompt, chosen and rejected
"""
import json
import sys

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer


@torch.no_grad()
def main(run, held):
    folder = run + "/adapter"
    config = AutoConfig.from_pretrained(folder)
    meta = json.load(open(folder + "/adapter_config.json"))
    want = json.load(open(run + "/metrics.json"))["eval"]["preferences"]["after"][0]["numbers"]
    assert meta["task_type"] == "SEQ_CLS" and config.num_labels == 1, (meta["task_type"], config.num_labels)
    path = meta["base_model_name_or_path"]
    model = PeftModel.from_pretrained(AutoModelForSequenceClassification.from_pretrained(path, config=config, dtype=torch.float32), folder).eval()
    tok = AutoTokenizer.from_pretrained(path)

    def score(text):
        ids = tok(text if text.endswith(tok.eos_token) else text + tok.eos_token, return_tensors="pt", return_token_type_ids=False)
        return float(model(**ids).logits[0, 0])

    pairs = [(score(r["prompt"] + r["chosen"]), score(r["prompt"] + r["rejected"])) for r in map(json.loads, open(held, encoding="utf-8"))]
    n = len(pairs)
    flat = [x for p in pairs for x in p]
    got = {"accuracy": sum(c > r for c, r in pairs) / n, "margin": sum(c - r for c, r in pairs) / n, "mean_reward": sum(flat) / (2 * n)}
    print("%d pairs:" % n, ", ".join("%s %.6f in PEFT, %.6f in adaptflow" % (k, v, want[k]) for k, v in got.items()))
    spread = max(flat) - min(flat)
    if abs(got["accuracy"] - want["accuracy"]) > 1e-9 or any(abs(got[k] - want[k]) > 1e-4 * spread for k in ("margin", "mean_reward")):
        sys.exit("they differ")


main(*sys.argv[1:])
