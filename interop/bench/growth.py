#!/usr/bin/env python3
"""The whole data stage on two sizes of distinct text: whether CPU time grows with the text and no faster, and memory does not grow.

    growth.py --adaptflow BIN --work FOLDER [--tokenizer FOLDER] [--mb 200,1600] [--keep]

The text is made here, the same for the same size: documents of random sentences whose words follow Zipf's law over 60,000 made-up words and a list of English
stop words, so that the quality filters keep most of them and no two are alike by chance; one in ten is a near-duplicate of one of the 500 before it, with one word in 40
replaced. Cleaning (four rules), exact, MinHash, paragraph and sentence deduplication, tokenizing and packing run in one process; CPU time and peak memory are the
process's own, as the system counts them.
"""
import argparse
import itertools
import json
import os
import random
import resource
import shutil
import subprocess
import time

RULES = "gopher_repetition,gopher_quality,c4_fineweb,fineweb_quality"
STEPS = "exact,minhash,paragraphs,sentences"
STOP = ("the of and to a in is it that was for on with as he be at by i this had not are but from or have an they which one you were her all she there would "
        "their we him been has when who will more no if out so said what up its about into than them can only other new some could time these two may then do").split()


def vocabulary(rnd):
    heads = ["b", "br", "c", "ch", "d", "dr", "f", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pl", "r", "s", "st", "t", "th", "v", "w", ""]
    middles = ["a", "e", "i", "o", "u", "ai", "ea", "ou"]
    tails = ["", "n", "r", "s", "l", "t", "nd", "rk", "st", "m", "ng"]
    words = set()
    while len(words) < 60000:
        words.add("".join(rnd.choice(heads) + rnd.choice(middles) + rnd.choice(tails) for _ in range(rnd.randint(1, 3))))
    return sorted(words)


def documents(mb, rnd):
    """Yields texts until their bytes are mb megabytes."""
    words = vocabulary(rnd)
    rnd.shuffle(words)
    all_words = STOP + words
    weights = list(itertools.accumulate([6.0 / (i + 2) for i in range(len(STOP))] + [1.0 / (i + 20) for i in range(len(words))]))
    pool, at, made, recent, n = [], 0, 0, [], 0
    while made < mb * 1e6:
        n += 1
        if n % 10 == 0 and recent:
            text = rnd.choice(recent).split(" ")
            for _ in range(max(1, len(text) // 40)):
                text[rnd.randrange(len(text))] = rnd.choice(words)
            text = " ".join(text)
        else:
            paragraphs = []
            for _ in range(rnd.randint(3, 8)):
                sentences = []
                for _ in range(rnd.randint(2, 6)):
                    k = rnd.randint(8, 22)
                    if at + k > len(pool):
                        pool, at = rnd.choices(all_words, cum_weights=weights, k=200000), 0
                    sentences.append(" ".join(pool[at:at + k]).capitalize() + ".")
                    at += k
                paragraphs.append(" ".join(sentences))
            text = "\n\n".join(paragraphs)
            recent.append(text)
            if len(recent) > 500:
                recent.pop(0)
        made += len(text)
        yield text


def build(folder, mb, files=8):
    os.makedirs(folder, exist_ok=True)
    rnd, n = random.Random(mb), 0
    out = [open(os.path.join(folder, f"part-{i:03d}.jsonl"), "w") for i in range(files)]
    for n, text in enumerate(documents(mb, rnd)):
        out[n % files].write(json.dumps({"text": text}) + "\n")
    for f in out:
        f.close()
    return n + 1


def run(a, folder):
    """Runs the stage and returns seconds, CPU seconds, peak memory in MiB, and what bench prepare says."""
    cmd = [a.adaptflow, "bench", "prepare", "--json", "--input", os.path.join(folder, "*.jsonl"), "--clean", RULES, "--dedupe", STEPS]
    if a.tokenizer:
        cmd += ["--tokenizer", a.tokenizer]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    done = subprocess.run(cmd, check=True, stdout=subprocess.PIPE, env=dict(os.environ, TMPDIR=a.work))
    wall, after = time.time() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    r = json.loads(done.stdout)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, r["peak_rss_bytes"] / 2**20, r


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--adaptflow", required=True)
    ap.add_argument("--work", required=True)
    ap.add_argument("--tokenizer", default="")
    ap.add_argument("--mb", default="200,1600")
    ap.add_argument("--keep", action="store_true", help="leave the texts, and take those that are there")
    a = ap.parse_args()
    first = None
    for mb in (int(x) for x in a.mb.split(",")):
        folder = os.path.join(a.work, f"text-{mb}")
        if not os.path.exists(folder + "/whole"):
            shutil.rmtree(folder, ignore_errors=True)
            n = build(folder, mb)
            open(folder + "/whole", "w").write(str(n))
        wall, cpu, peak, r = run(a, folder)
        line = f"{mb} MB, {open(folder + '/whole').read()} documents, {r['kept']} kept: {wall:.1f} s, {cpu:.1f} s of CPU, {peak:.0f} MiB at most"
        if first:
            line += f"; {cpu / first[0]:.2f} times the CPU time and {peak / first[1]:.2f} times the memory of the first"
        print(line, flush=True)
        first = first or (cpu, peak)
        if not a.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
