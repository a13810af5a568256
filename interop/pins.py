#!/usr/bin/env python3
"""Holds the bytes that templates give at their default settings: of their shards, and of their adapters (adapter_model.safetensors and adapter_config.json), as SHA-256
for each kernel set in interop/pins.json. A kernel set with settings behind it, as in plain:train.max_steps=4, has them in place of the default ones: plain Go
takes many times as long as vector instructions. A change of the program that is not meant to change them leaves them as they are. The pins were made by the program of 7080693.

    pins.py ADAPTFLOW WORKDIR [--kernels "avx2 plain:…"] [--templates a,b] [--write]

Without names, what is pinned is compared, and what is not is said. --write keeps what is found as what is wanted. Exit code 1: other bytes.
"""
import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PINS = os.path.join(HERE, "pins.json")


def digest(folder, names, cache):
    """How many files of folder have one of the names, and the SHA-256 over their paths and bytes, in order. Where this machine keeps its models is not a part of them."""
    found = []
    for at, _, files in os.walk(folder):
        for f in files:
            if f in names or os.path.splitext(f)[1] in names:
                path = os.path.join(at, f)
                with open(path, "rb") as r:
                    data = r.read().replace(os.fsencode(cache), b"CACHE").replace(os.fsencode(folder), b"OUTPUT")
                found.append((os.path.relpath(path, folder), hashlib.sha256(data).hexdigest()))
    total = hashlib.sha256("".join(f"{p} {h}\n" for p, h in sorted(found)).encode()).hexdigest()
    return {"files": len(found), "sha256": total}


def templates(bin):
    out = subprocess.run([bin, "templates"], check=True, capture_output=True, text=True).stdout
    return [line.split()[0] for line in out.splitlines() if line and not line[0].isspace()]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("adaptflow")
    p.add_argument("work")
    p.add_argument("--kernels", default="")
    p.add_argument("--templates", default="")
    p.add_argument("--write", action="store_true")
    a = p.parse_args()
    pins = json.load(open(PINS)) if os.path.exists(PINS) else {}
    cache = os.path.join(os.path.abspath(a.work), "cache")
    bad = 0
    for kernels in a.kernels.split(" ") if a.kernels else pins:
        which, _, settings = kernels.partition(":")
        settings = [x for s in settings.split(";") if s for x in ("--set", s)]
        known = templates(a.adaptflow)
        if not a.templates and (lacks := [t for t in known if t not in pins.get(kernels, {})]):
            print(f"{kernels}: not pinned: {', '.join(lacks)}")
        for name in a.templates.split(",") if a.templates else [t for t in known if t in pins.get(kernels, {})]:
            out = os.path.join(os.path.abspath(a.work), "out")
            shutil.rmtree(out, ignore_errors=True)
            start = time.time()
            run = subprocess.run([a.adaptflow, "run", name, "--output", out, *settings], capture_output=True, text=True,
                                 env={**os.environ, "ADAPTFLOW_KERNELS": which, "XDG_CACHE_HOME": cache})
            if run.returncode != 0:
                print(f"{kernels} {name}: exit code {run.returncode}: {run.stderr[-2000:]}")
                bad += 1
                continue
            got = {"shards": digest(out, {".parquet"}, cache), "adapters": digest(out, {"adapter_model.safetensors", "adapter_config.json"}, cache)}
            want = pins.get(kernels, {}).get(name)
            same = got == want
            print(f"{kernels} {name}: {got['shards']['files']} shards, {got['adapters']['files']} files of adapters, {time.time() - start:.0f} s"
                  + ("" if same else f": OTHER BYTES: {got}, want {want}"), flush=True)
            bad += not same and not a.write
            if a.write:
                pins.setdefault(kernels, {})[name] = got
                with open(PINS + ".tmp", "w") as f:
                    json.dump(pins, f, indent=1, sort_keys=True)
                    f.write("\n")
                os.replace(PINS + ".tmp", PINS)
    shutil.rmtree(os.path.join(a.work, "out"), ignore_errors=True)
    return 1 if bad else 0


sys.exit(main())
