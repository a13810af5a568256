#!/usr/bin/env python3
"""Hugging Face PEFT as its users train on examples: batches of --batch examples, each padded to its longest, with labels on the answers alone.

    padded_peer.py --model FOLDER_OR_CONFIG --shards FILE.parquet --rows N --dtype fp32|bf16 [--batch 8] [--rank 16]

The examples are those of the packed rows that `adaptflow bench train --shards` trains on (every 1009th row; --rows of them), cut at doc_starts, so that both sides
have the same tokens and labels, and in a shuffled order. Printed is the rate of tokens that are not padding. fp32 sends matrix products to oneDNN.
"""
import argparse
import contextlib
import json
import os
import random
import sys
import time

STRIDE = 1009  # Stride of pipelines/bench/train.go


def examples(path, rows):
    import pyarrow.parquet as pq
    t = pq.read_table(path, columns=["input_ids", "labels", "doc_starts"])
    out = []
    for k in range(rows):
        i = k * STRIDE % t.num_rows
        ids, labels, starts = (t.column(c)[i].as_py() for c in ("input_ids", "labels", "doc_starts"))
        for a, b in zip(starts, starts[1:] + [len(ids)]):
            out.append((ids[a:b], labels[a:b]))
    random.Random(1).shuffle(out)
    return out


def peak():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("VmHWM"))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True)
    ap.add_argument("--shards", required=True)
    ap.add_argument("--rows", type=int, required=True)
    ap.add_argument("--dtype", choices=["fp32", "bf16"], default="bf16")
    ap.add_argument("--batch", type=int, default=8)
    ap.add_argument("--rank", type=int, default=16)
    ap.add_argument("--warmup", type=int, default=2, help="batches before")
    ap.add_argument("--threads", type=int, default=2)
    a = ap.parse_args()
    import torch
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    torch.set_num_threads(a.threads)
    if a.dtype == "fp32":
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[a.dtype]
    if os.path.isdir(a.model):
        model = AutoModelForCausalLM.from_pretrained(a.model, dtype=dtype)
    else:
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(a.model), dtype=dtype)
    model = get_peft_model(model, LoraConfig(task_type=TaskType.CAUSAL_LM, r=a.rank, lora_alpha=2 * a.rank, target_modules="all-linear"))
    model.train()
    params = [p for p in model.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=1e-4)
    docs = examples(a.shards, a.rows)
    batches = [docs[i:i + a.batch] for i in range(0, len(docs) - a.batch + 1, a.batch)]
    seconds, tokens, padded, loss = [], 0, 0, 0.0
    for n, batch in enumerate(batches):
        start = time.perf_counter()
        length = max(len(ids) for ids, _ in batch)
        ids = torch.zeros(len(batch), length, dtype=torch.long)
        labels = torch.full((len(batch), length), -100)
        mask = torch.zeros(len(batch), length, dtype=torch.long)
        for i, (x, y) in enumerate(batch):
            ids[i, :len(x)], labels[i, :len(y)], mask[i, :len(x)] = torch.tensor(x), torch.tensor(y), 1
        with torch.autocast("cpu", dtype=torch.bfloat16) if a.dtype == "bf16" else contextlib.nullcontext():
            out = model(input_ids=ids, attention_mask=mask, labels=labels)
        out.loss.backward()
        opt.step()
        opt.zero_grad(set_to_none=True)
        loss = float(out.loss.detach())
        if n >= a.warmup:
            seconds.append(time.perf_counter() - start)
            tokens += sum(len(x) for x, _ in batch)
            padded += ids.numel()
    print(json.dumps(dict(tokens_per_second=tokens / sum(seconds), tokens=tokens, padded_tokens=padded, step_seconds=seconds, loss=loss, dtype=a.dtype,
                          trainable_parameters=sum(p.numel() for p in params), peak_rss_bytes=peak())))


if __name__ == "__main__":
    sys.exit(main())
