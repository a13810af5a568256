#!/usr/bin/env python3
"""DiLoCo's table at small scale: perplexity against the inner steps H and the number of replicas, at one budget of tokens.

    diloco.py --adaptflow BIN --work FOLDER [--output docs/diloco.json] [--steps 200] [--batch 8] [--sequence-length 64]

Every run of the grid sees the same number of tokens in the same number of steps: a step of all replicas together is BATCH sequences, of which each
takes an equal part. H = 1 is mode sync. A finished run in FOLDER is not run again, so that the same command goes on where it stopped; the JSON is
written after each run. `go run ./interop/bench/curves docs/diloco.json docs/diloco.svg` draws it.
"""
import argparse
import concurrent.futures
import json
import os
import subprocess
import sys

STEPS = [5, 10, 50, 100]  # H
OUTER = [(1.0, 0.5), (0.7, 0.9)]  # learning rate and Nesterov momentum of the outer optimiser


def grid():
    """The runs as replicas, H and outer optimiser. Of mode sync one with several replicas is enough: it computes what one replica with the whole batch does."""
    yield 1, 1, None
    for r in (4, 8, 2):
        for h in STEPS:
            for outer in OUTER:
                yield r, h, outer
        if r == 4:
            yield 4, 1, None


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--adaptflow", required=True)
    ap.add_argument("--work", required=True, help="folder of the runs")
    ap.add_argument("--output", default="docs/diloco.json")
    ap.add_argument("--steps", type=int, default=200)
    ap.add_argument("--batch", type=int, default=8, help="sequences of a step, of all replicas together")
    ap.add_argument("--sequence-length", type=int, default=64)
    ap.add_argument("--jobs", type=int, default=1, help="runs at once")
    ap.add_argument("--learning-rate", type=float, default=2e-3)
    a = ap.parse_args()
    out = {"model": "lm-en-5m", "corpus": "linux_man_en", "steps": a.steps, "batch": a.batch, "sequence_length": a.sequence_length,
           "learning_rate": a.learning_rate, "runs": []}

    def run(cell):
        replicas, h, outer = cell
        if a.batch % replicas:
            sys.exit(f"--batch {a.batch} is not a multiple of {replicas} replicas")
        settings = {"sequence_length": a.sequence_length, "batch_size": a.batch // replicas, "replicas": replicas, "steps": a.steps,
                    "learning_rate": a.learning_rate, "data.general_input": "[]", "evaluate.max_sequences": 256, "evaluate.max_new_tokens": 0,
                    "save_steps": 100}
        name = f"r{replicas}-h{h}"
        if outer:
            settings |= {"train.mode": "local", "train.local_steps": h, "train.outer_learning_rate": outer[0], "train.outer_momentum": outer[1]}
            name += f"-{outer[0]}-{outer[1]}"
        cmd = [a.adaptflow, "run", "domain-adaptation", "--json", "--output", os.path.join(a.work, name)]
        for k, v in settings.items():
            cmd += ["--set", f"{k}={v}"]
        done = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(cmd)}: {done.stderr[-500:]}")
        m = json.loads(done.stdout)
        score, train = m["eval"]["domain"]["after"], m["train"]
        rounds = -(-a.steps // h) if replicas > 1 else 0
        print(name, f"{score['perplexity']:.2f}", flush=True)
        return m["eval"]["domain"]["before"]["perplexity"], {
            "replicas": replicas, "local_steps": h, "outer_lr": outer and outer[0], "outer_momentum": outer and outer[1], "rounds": rounds,
            "nll": score["nll"], "perplexity": score["perplexity"], "tokens": train["tokens"],
            "traffic_bytes": rounds * (train.get("bytes_sent_per_round", 0) + train.get("bytes_received_per_round", 0))}

    os.makedirs(os.path.dirname(os.path.abspath(a.output)), exist_ok=True)
    cells, rows = list(grid()), {}
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        started = {pool.submit(run, c): c for c in cells}
        for f in concurrent.futures.as_completed(started):
            out["perplexity_before"], rows[started[f]] = f.result()
            out["runs"] = [rows[c] for c in cells if c in rows]
            with open(a.output + ".part", "w") as to:
                json.dump(out, to, indent=1)
                to.write("\n")
            os.replace(a.output + ".part", a.output)


if __name__ == "__main__":
    main()
