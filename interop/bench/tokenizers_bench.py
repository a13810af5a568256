#!/usr/bin/env python3
"""adaptflow's tokenizer beside Hugging Face tokenizers on one thread, or on several: the two run in turn on the same text, and medians and ratios are printed.

    tokenizers_bench.py --adaptflow BIN --tokenizers FOLDER --input FILE.jsonl [--input …] [--families gpt2,llama3,…] [--threads 2]

HF's best counts: encode a document at a time, encode_batch and encode_batch_fast (which makes no offsets) of all. Both sides read the
text before the clock starts, and must give the same ids.
"""
import argparse
import array
import hashlib
import json
import os
import statistics
import subprocess
import sys


def texts(paths):
    out = []
    for p in paths:
        with open(p, encoding="utf-8") as f:
            out += [json.loads(line)["text"] for line in f if line.strip()]
    return out


def hf(folder, paths, threads):
    import time

    from tokenizers import Tokenizer

    t = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    t.no_truncation()
    t.no_padding()
    docs = texts(paths)
    size = sum(len(d.encode()) for d in docs)
    best = {}
    tokens = 0
    ways = {"encode": lambda: [t.encode(d) for d in docs], "encode_batch": lambda: t.encode_batch(docs)}
    if hasattr(t, "encode_batch_fast"):
        ways["encode_batch_fast"] = lambda: t.encode_batch_fast(docs)
    for name, f in ways.items():
        times = []
        for _ in range(3):
            at = time.perf_counter()
            r = f()
            times.append(time.perf_counter() - at)
            tokens = sum(len(e.ids) for e in r)
            ids = hashlib.sha256(b"".join(array.array("I", e.ids).tobytes() for e in r)).hexdigest()
            del r
        best[name] = size / 1e6 / statistics.median(times)
    return {"tokens": tokens, "ids_sha256": ids, "mb_per_second": best}


def run(cmd, threads):
    env = dict(os.environ, GOMAXPROCS=str(threads), TOKENIZERS_PARALLELISM="true" if threads > 1 else "false", RAYON_NUM_THREADS=str(threads))
    return json.loads(subprocess.run(cmd, check=True, stdout=subprocess.PIPE, text=True, env=env).stdout)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--adaptflow")
    ap.add_argument("--tokenizers", required=True, help="folder of NAME/tokenizer.json")
    ap.add_argument("--input", action="append", required=True)
    ap.add_argument("--families", default="gpt2,roberta,falcon,neox,llama3,qwen2.5,llama2,mistral3,bert,t5")
    ap.add_argument("--python", default=sys.executable)
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--hf", help=argparse.SUPPRESS)
    a = ap.parse_args()
    if a.hf:
        print(json.dumps(hf(a.hf, a.input, a.threads)))
        return
    inputs = [x for i in a.input for x in ("--input", i)]
    print("| tokenizer | HF encode | HF batch | HF batch fast | adaptflow ids + offsets | adaptflow ids | offsets: ratio to HF's best | ids: ratio to HF's best |\n|---|---|---|---|---|---|---|---|")
    for name in a.families.split(","):
        folder = os.path.join(a.tokenizers, name)
        them, us = [], {True: [], False: []}
        for _ in range(a.runs):
            them.append(run([a.python, __file__, "--tokenizers", a.tokenizers, "--hf", folder, "--threads", str(a.threads)] + inputs, a.threads))
            for offsets in (True, False):
                r = run([a.adaptflow, "bench", "tokenize", "--tokenizer", folder, "--threads", str(a.threads), "--json"] + inputs + (["--offsets"] if offsets else []), a.threads)
                if r["ids_sha256"] != them[-1]["ids_sha256"]:
                    sys.exit("%s: adaptflow gives other ids than HF (%d tokens, HF %d)" % (name, r["tokens"], them[-1]["tokens"]))
                us[offsets].append(r["mb_per_second"])
        med = {k: statistics.median(t["mb_per_second"].get(k, 0) for t in them) for k in ("encode", "encode_batch", "encode_batch_fast")}
        ours = {k: statistics.median(v) for k, v in us.items()}
        print("| %s | %.2f | %.2f | %.2f | %.1f | %.1f | %.1f | %.1f |" % (name, med["encode"], med["encode_batch"], med["encode_batch_fast"], ours[True], ours[False],
              ours[True] / max(med["encode"], med["encode_batch"]), ours[False] / max(med.values())), flush=True)


if __name__ == "__main__":
    main()
