#!/usr/bin/env python3
"""Hugging Face PEFT loads an adapter that adaptflow wrote and gives the same logits; a merged model equals base + adapter.

    peft_check.py ids OUT.safetensors --model DIR          token ids to compare on (real text and random ids)
    peft_check.py quantized --quantized DIR --ids IDS --logits L     transformers and bitsandbytes load a folder that adaptflow quantised
    peft_check.py compare --model DIR --adapter DIR --merged DIR --ids IDS --adapter-logits A --merged-logits M --base-logits B

The *-logits files are what `adaptflow logits` wrote for the same ids. Exits 1 where a difference exceeds 1e-3.
"""
import argparse
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXT = [
    "The open() system call opens the file specified by pathname. If the specified file does not exist, it may be created.",
    "Once upon a time there was a boy who would not grow up, and he lived with the fairies in Kensington Gardens.",
]
LIMIT = 1e-3


def make_ids(args):
    tok = AutoTokenizer.from_pretrained(args.model)
    rows = [tok(t, add_special_tokens=False)["input_ids"] for t in TEXT]
    n = min(len(r) for r in rows)
    g = torch.Generator().manual_seed(1)
    rows = [r[:n] for r in rows] + [torch.randint(0, len(tok), (n,), generator=g).tolist() for _ in range(2)]
    save_file({"input_ids": torch.tensor(rows, dtype=torch.int64)}, args.out)


@torch.no_grad()
def compare(args):
    from peft import PeftModel

    ids = load_file(args.ids)["input_ids"]
    base = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32, attn_implementation="eager").eval()
    plain = base(input_ids=ids).logits
    model = PeftModel.from_pretrained(base, args.adapter).eval()
    adapted = model(input_ids=ids).logits
    merged = AutoModelForCausalLM.from_pretrained(args.merged, dtype=torch.float32, attn_implementation="eager").eval()
    ours = {k: load_file(p)["logits"] for k, p in
            dict(base=args.base_logits, adapter=args.adapter_logits, merged=args.merged_logits).items()}
    pairs = [
        ("base: adaptflow and transformers", ours["base"], plain),
        ("adapter: adaptflow and PEFT", ours["adapter"], adapted),
        ("merged: transformers, and base + adapter in PEFT", merged(input_ids=ids).logits, adapted),
        ("merged: adaptflow, and base + adapter in adaptflow", ours["merged"], ours["adapter"]),
    ]
    bad = 0
    for name, a, b in pairs:
        d = float((a - b).abs().max())
        ok = d <= (args.merged_limit if name.startswith("merged") else LIMIT)
        bad += not ok
        print("%-55s max difference %.2e %s" % (name, d, "" if ok else "TOO LARGE"))
    moved = float((adapted - plain).abs().max())
    print("the adapter moves the logits by up to %.2f" % moved)
    if moved < 0.1:
        print("the adapter does nothing")
        bad += 1
    print("%d passed, %d failed" % (len(pairs) + 1 - bad, bad))
    return 1 if bad else 0


@torch.no_grad()
def quantized(args):
    import bitsandbytes as bnb

    ids = load_file(args.ids)["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(args.quantized, dtype=torch.float32, device_map="cpu", attn_implementation="eager").eval()
    n = 0
    for m in model.modules():
        if isinstance(m, bnb.nn.Linear4bit):
            m.support_avx512bf16_for_cpu = False  # else it multiplies in bfloat16
        n += isinstance(m, (bnb.nn.Linear4bit, bnb.nn.Linear8bitLt))
    d = float((model(input_ids=ids).logits - load_file(args.logits)["logits"]).abs().max())
    print("%d layers of bitsandbytes; checkpoint: adaptflow and transformers, max difference %.2e" % (n, d))
    # LLM.int8 rounds activations to codes: a last bit of a float32 sum turns one now and then, and the rows that follow it.
    return 0 if n and d <= (args.limit or LIMIT) else 1


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = ap.add_subparsers(required=True)
    p = sub.add_parser("ids")
    p.add_argument("out")
    p.add_argument("--model", required=True)
    p.set_defaults(run=make_ids)
    p = sub.add_parser("compare")
    for f in ("model", "adapter", "merged", "ids", "adapter-logits", "merged-logits", "base-logits"):
        p.add_argument("--" + f, required=True)
    p.add_argument("--merged-limit", type=float, default=LIMIT)
    p.set_defaults(run=compare)
    p = sub.add_parser("quantized")
    for f in ("quantized", "ids", "logits"):
        p.add_argument("--" + f, required=True)
    p.add_argument("--limit", type=float, default=0)
    p.set_defaults(run=quantized)
    args = ap.parse_args()
    sys.exit(args.run(args) or 0)


if __name__ == "__main__":
    main()
