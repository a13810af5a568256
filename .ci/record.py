"""The record of a run of .ci/run.
  record.py NAME SECONDS RC LOG        a part's line: its time, whether it passed, and the lines of its log that have figures
  record.py --write RECORD FOLDER      the record of a whole run, FOLDER/DATE-COMMIT.json
  record.py --passed FOLDER            the commits of recorded runs that passed, newest first
"""
import datetime
import glob
import json
import os
import platform
import re
import subprocess
import sys

FIGURE = re.compile(r"^(ok\s|--|.*\d.*(cases|perplexity|MiB|tokens/s|logits|kill|benchmarks|faults|ports|declined|equal))")


def figures(log, most=80):
    with open(log, errors="replace") as f:
        lines = [line.rstrip()[:300] for line in f]
    lines = [re.sub(r"/\S*/tmp\.\w+|/tmp/\S+", "TMP", line) for line in lines]
    lines = [line for line in lines if FIGURE.match(line) and not line.startswith("ok ") and "no test files" not in line]
    return lines[-most:]


def processor():
    with open("/proc/cpuinfo") as f:
        text = f.read()
    model = re.search(r"model name\s*:\s*(.*)", text)
    flags = set(re.search(r"flags\s*:\s*(.*)", text).group(1).split())
    return {"model": model.group(1) if model else platform.processor(), "cores": os.cpu_count(),
            "features": sorted(flags & {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8"})}


def git(*args):
    return subprocess.run(("git",) + args, capture_output=True, text=True, check=True).stdout.strip()


def main(argv):
    if argv[0] == "--passed":
        for path in sorted(glob.glob(os.path.join(argv[1], "*.json")), reverse=True):
            with open(path) as f:
                record = json.load(f)
            if record["passed"] and record["clean"]:
                print(record["commit"])
        return
    if argv[0] == "--write":
        with open(argv[1]) as f:
            parts = [json.loads(line) for line in f]
        now = datetime.datetime.now(datetime.timezone.utc)
        record = {"commit": git("rev-parse", "HEAD"), "clean": not git("status", "--porcelain"), "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                  "processor": processor(), "passed": all(p["passed"] for p in parts), "seconds": sum(p["seconds"] for p in parts), "parts": parts}
        os.makedirs(argv[2], exist_ok=True)
        path = os.path.join(argv[2], now.strftime("%Y%m%dT%H%M%S") + "-" + record["commit"][:7] + ".json")
        with open(path, "w") as f:
            json.dump(record, f, indent=1, ensure_ascii=False)
            f.write("\n")
        print("written:", path)
        return
    name, seconds, rc, log = argv
    print(json.dumps({"part": name, "seconds": int(seconds), "passed": rc == "0", "figures": figures(log)}, ensure_ascii=False))


main(sys.argv[1:])
