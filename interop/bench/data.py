#!/usr/bin/env python3
"""The data stage beside datatrove: filters, MinHash with clusters, tokenizing, on the same text, in turn; the whole stage against the sum of datatrove's steps.

    data.py --adaptflow BIN --peer datatrove_bench.py --python PYTHON --data FOLDER --tokenizer FOLDER --work FOLDER [--mb 40] [--large-mb 400]

--peer is the script that synthesises the corpus (real text repeated, 2 % of the words of each repetition replaced) and runs datatrove's steps, two workers each;
PYTHON has datatrove's pinned requirements. adaptflow runs with GOMAXPROCS=2. --large-mb also runs adaptflow's whole stage on that much text, to see whether time is
linear and memory flat.
"""
import argparse
import importlib.util
import json
import os
import shutil
import subprocess

RULES = "gopher_repetition,gopher_quality,c4_fineweb,fineweb_quality"
STEPS = {
    "filters": (["--clean", RULES, "--until", "clean"], ["filters"]),
    "minhash with clusters": (["--dedupe", "minhash", "--until", "dedupe"], ["minhash1", "minhash2", "minhash3", "minhash4"]),
    "tokenize and pack": ([], ["tokenize"]),
    "whole stage": (["--clean", RULES, "--dedupe", "minhash"], ["filters", "minhash1", "minhash2", "minhash3", "minhash4", "tokenize"]),
}


def ours(a, folder, flags):
    cmd = [a.adaptflow, "bench", "prepare", "--json", "--tokenizer", a.tokenizer, "--input", os.path.join(folder, "*.jsonl")] + flags
    env = dict(os.environ, GOMAXPROCS="2", TMPDIR=a.work)
    return json.loads(subprocess.run(cmd, check=True, stdout=subprocess.PIPE, env=env).stdout)


def main():
    ap = argparse.ArgumentParser()
    for f in ("adaptflow", "peer", "python", "data", "tokenizer", "work"):
        ap.add_argument("--" + f, required=True)
    ap.add_argument("--mb", type=float, default=40)
    ap.add_argument("--large-mb", type=float, default=0)
    ap.add_argument("--runs", type=int, default=1, help="of adaptflow; the median counts")
    a = ap.parse_args()
    os.makedirs(a.work, exist_ok=True)
    peer = os.path.join(a.work, "peer")
    out = os.path.join(a.work, "datatrove.json")
    subprocess.run([a.python, a.peer, "--data", a.data, "--tokenizer", os.path.join(a.tokenizer, "tokenizer.json"), "--work", peer, "--out", out, "--mb", str(a.mb)], check=True)
    theirs = json.load(open(out))
    failed = [f"{name} (see {os.path.join(peer, name)}.log)" for name, step in theirs["steps"].items() if step.get("rc", 0) != 0]
    if failed:
        raise SystemExit("datatrove's steps failed: " + ", ".join(failed))
    corpus = theirs["corpus"]
    print(f"{corpus['docs']} documents, {corpus['text_bytes'] / 1e6:.1f} MB; load {os.getloadavg()[0]:.1f}")
    folder = os.path.join(peer, "in")
    for name, (flags, steps) in STEPS.items():
        runs = sorted((ours(a, folder, flags) for _ in range(a.runs)), key=lambda r: r["seconds"])
        r = runs[len(runs) // 2]
        wall = sum(theirs["steps"][s]["wall_s"] for s in steps)
        peak = max(theirs["steps"][s]["peak_rss_mb"] for s in steps)
        print(f"{name}: adaptflow {corpus['docs'] / r['seconds']:.0f} documents/s, {r['peak_rss_bytes'] >> 20} MiB, {r['seconds']:.1f} s, {r['kept']} kept; "
              f"datatrove {corpus['docs'] / wall:.0f} documents/s, {peak:.0f} MB, {wall:.1f} s; ratio {wall / r['seconds']:.1f}", flush=True)
    shutil.rmtree(peer, ignore_errors=True)
    if a.large_mb:
        spec = importlib.util.spec_from_file_location("peer", a.peer)
        m = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(m)
        large = os.path.join(a.work, "large")
        c = m.build(a.data, large, a.large_mb, 8)
        r = ours(a, large, STEPS["whole stage"][0])
        print(f"whole stage, {c['text_bytes'] / 1e6:.0f} MB: {c['docs'] / r['seconds']:.0f} documents/s, {r['peak_rss_bytes'] >> 20} MiB, {r['seconds']:.1f} s, {r['kept']} kept")
        shutil.rmtree(large, ignore_errors=True)


if __name__ == "__main__":
    main()
