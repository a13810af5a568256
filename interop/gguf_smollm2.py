"""The real SmolLM2-135M-Instruct, Q4_1, as llama.cpp's users have it: adapted to man pages from the file itself, and back to an adapter and a merged
model in GGUF, whose perplexity on held-out man pages is measured in llama.cpp.
usage: python gguf_smollm2.py ADAPTFLOW WORKDIR FILE.gguf STEPS      (with xllamacpp, gguf and numpy)"""
import glob
import json
import os
import pathlib
import resource
import subprocess
import sys

import gguf
import numpy as np
from gguf_families import adaptflow, ours
from llamacpp import Model

LIMIT_MIB = 450
TEXTS, TOKENS = 4, 110  # of held-out text: more than 300 prefixes


def adapt(binary, work, model, steps):
    """Trains, and returns the most memory that the process has had, in MiB."""
    settings = {"model": model, "model.gguf": "keep", "dtype": "bfloat16", "steps": steps, "warmup_steps": 1, "sequence_length": 256, "batch_size": 1,
                "evaluate.max_sequences": 2, "export.gguf": "Q8_0", "export.gguf_lora": "true"}
    command = [binary, "run", "domain-adaptation", "--output", str(work / "run")]
    for k, v in settings.items():
        command += ["--set", f"{k}={v}"]
    p = subprocess.run(command, capture_output=True, text=True)
    if p.returncode:
        sys.exit(f"{' '.join(command)}: {p.stderr}")
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10


def held_out():
    """Lines of the corpus that the program has unpacked."""
    cache = os.environ.get("ADAPTFLOW_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "adaptflow")
    path = max(glob.glob(os.path.join(cache, "linux_man_en-*", "valid.jsonl")), key=os.path.getmtime)
    with open(path, encoding="utf-8") as f:
        return [json.loads(line)["text"] for line in f]


def perplexity(model, texts):
    total, n = 0.0, 0
    for ids in texts:
        lp = model.log_probabilities(ids)
        total -= float(lp[np.arange(len(ids) - 1), ids[1:]].sum())
        n += len(ids) - 1
    return total / n, n


def main(binary, work, file, steps):
    work = pathlib.Path(work)
    work.mkdir(parents=True, exist_ok=True)
    peak = adapt(binary, work, file, steps)
    train = json.loads((work / "run" / "metrics.json").read_text())
    domain = train["eval"]["domain"]
    print(f"adapted from the file: peak {peak} MiB (at most {LIMIT_MIB}), held-out perplexity {domain['before']['perplexity']:.2f} to "
          f"{domain['after']['perplexity']:.2f}", flush=True)
    if peak > LIMIT_MIB or domain["after"]["nll"] >= domain["before"]["nll"]:
        sys.exit("more memory than is allowed, or nothing was learnt")
    config = json.loads((work / "run" / "adapter" / "adapter_config.json").read_text())
    if config["base_model_name_or_path"] != file:
        sys.exit(f"the adapter names the base {config['base_model_name_or_path']}")

    lora, merged = work / "run" / "gguf-lora" / "adapter.gguf", work / "run" / "gguf" / "model.gguf"
    for path in (lora, merged):
        gguf.GGUFReader(path)
    base = Model(file)
    texts = [ids[:TOKENS] for ids in map(base.ids, held_out()) if len(ids) >= TOKENS][:TEXTS]
    before, n = perplexity(base, texts)
    base.close()
    if n <= 300:
        sys.exit(f"only {n} prefixes")
    for what, model in (("the adapter over it", Model(file, lora)), ("the merged Q8_0", Model(merged))):
        after, _ = perplexity(model, texts)
        model.close()
        source = (file, "--adapter", work / "run" / "adapter") if what.startswith("the adapter") else (merged,)
        mine = 0.0
        for ids in texts:
            lp = ours(binary, work, source[0], ids, *source[1:])
            mine -= float(lp[np.arange(len(ids) - 1), ids[1:]].sum()) / n
        print(f"llama.cpp, {n} prefixes of held-out man pages: perplexity {np.exp(before):.2f} of the file, {np.exp(after):.2f} of {what} "
              f"(by adaptflow {np.exp(mine):.2f})", flush=True)
        if after >= before - 0.05:
            sys.exit(f"{what} is no better in llama.cpp")
        if abs(after - mine) > 0.03:
            sys.exit(f"{what}: llama.cpp's {after:.4f} nats are not adaptflow's {mine:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
