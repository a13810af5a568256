#!/usr/bin/env python3
"""A model of Mistral-7B's shape on a small machine: random weights are written as bfloat16 shards, quantised to NF4 in 2 GiB, planned, a LoRA
adapter of rank 16 is trained on sequences of 512 tokens over them in a group of 12 GiB with the page cache counted, killed and resumed; adapter and
codes continue a prompt; the adapter is merged into the bfloat16 model, and that continues a prompt.

    seven.py --adaptflow BIN --work FOLDER [--layers 32] [--steps 4] [--limit 12] [--keep] [--json FILE]

This Python has numpy. With --layers 4 it is an eighth of the work. Disk: 0.45 GB a layer and 0.5 GB for the bfloat16 files, less than a third of that
for the codes, which are deleted before the merged model, as large as the first, is written: 29 GB at 32 layers. Where the disk lacks that, merging is
left out. What each step takes at most is what its control group counted, anonymous memory and page cache together (version 1 or 2, made below the
root of the hierarchy, for which this must be root); where none can be made, the largest resident set, mapped files among it, and a line says so.
"""
import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np

GIB = 1 << 30
SHAPE = dict(architectures=["MistralForCausalLM"], model_type="mistral", hidden_size=4096, intermediate_size=14336, num_attention_heads=32,
             num_key_value_heads=8, vocab_size=32000, max_position_embeddings=4096, rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu",
             sliding_window=None, tie_word_embeddings=False, torch_dtype="bfloat16", bos_token_id=1, eos_token_id=2)


class Group:
    """A control group with a limit of memory, or nothing where none can be made."""

    def __init__(self, limit):
        self.path, self.v2 = None, os.path.exists("/sys/fs/cgroup/cgroup.controllers")
        path = os.path.join("/sys/fs/cgroup" if self.v2 else "/sys/fs/cgroup/memory", "adaptflow-seven-%d" % os.getpid())
        try:
            os.mkdir(path)
            with open(os.path.join(path, "memory.max" if self.v2 else "memory.limit_in_bytes"), "w") as f:
                f.write(str(limit))
            self.path = path
        except OSError as e:
            print("no control group (%s): the resident set is measured instead, and nothing limits it" % e, file=sys.stderr)

    def enter(self):
        if self.path:
            with open(os.path.join(self.path, "cgroup.procs"), "w") as f:
                f.write(str(os.getpid()))

    def most(self):
        if self.path:
            with open(os.path.join(self.path, "memory.peak" if self.v2 else "memory.max_usage_in_bytes")) as f:
                return int(f.read())

    def close(self):
        if self.path:
            os.rmdir(self.path)


def forget(folder):
    """Has the system drop what it holds of files, so that a group is charged for all that it reads."""
    for at, _, names in os.walk(folder):
        for n in names:
            f = os.open(os.path.join(at, n), os.O_RDONLY)
            os.fsync(f)
            os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(f)


def run(a, what, limit, args, until=None):
    """Runs a command in a group. until, if given, is called again and again: where it says so, the command is killed."""
    forget(a.work)
    g = Group(int(limit * GIB))
    log = os.path.join(a.work, "log")
    start = time.time()
    with open(log, "w") as out:
        p = subprocess.Popen([a.adaptflow, *args], stdout=out, stderr=subprocess.STDOUT, preexec_fn=g.enter, start_new_session=True,
                             env=dict(os.environ, XDG_CACHE_HOME=os.path.join(a.work, "cache"), TMPDIR=a.work))
    killed = False
    while True:
        pid, status, usage = os.wait4(p.pid, os.WNOHANG)
        if pid:
            break
        if until and not killed and until():
            os.killpg(p.pid, signal.SIGKILL)
            killed = True
        time.sleep(0.05)
    p.returncode = os.waitstatus_to_exitcode(status)
    most = g.most()
    g.close()
    text = open(log).read()
    if p.returncode and not killed:
        sys.exit("%s: exit %d\n%s" % (what, p.returncode, text[-3000:]))
    r = {"seconds": round(time.time() - start, 1), "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1), "resident_gib": round(usage.ru_maxrss / 2**20, 2)}
    if most is not None:
        r["group_gib"], r["limit_gib"] = round(most / GIB, 2), limit
    a.results[what] = r
    print("%-24s %s" % (what, json.dumps(r)), flush=True)
    return killed, text


def write_shard(path, tensors, r):
    """A safetensors file of random bfloat16 matrices, uniform with a standard deviation of 0.02; vectors are ones."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        n = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + n]}
        at += n
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(len(head).to_bytes(8, "little") + head)
        for _, shape in tensors:
            if len(shape) == 1:
                f.write(np.full(shape, 0x3f80, np.uint16).tobytes())
                continue
            left = int(np.prod(shape))
            while left:
                n = min(left, 1 << 24)
                x = (r.integers(0, 1 << 16, n, dtype=np.uint16).astype(np.float32) - np.float32(32767.5)) * np.float32(0.02 * 3**0.5 / 32768)
                f.write((x.view(np.uint32) >> 16).astype(np.uint16).tobytes())
                left -= n
    return at


def make(a, folder):
    """The model's folder, a shard a block of the model."""
    tokenizer = os.path.join(a.work, "tokenizer")
    subprocess.run([a.adaptflow, "quantize", "--output", tokenizer], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.makedirs(folder)
    for n in os.listdir(tokenizer):
        if "token" in n:
            shutil.copy(os.path.join(tokenizer, n), folder)
    c = dict(SHAPE, num_hidden_layers=a.layers)
    d, ff, kv = c["hidden_size"], c["intermediate_size"], c["hidden_size"] // c["num_attention_heads"] * c["num_key_value_heads"]
    shards = [[("model.embed_tokens.weight", [c["vocab_size"], d])], [("model.norm.weight", [d]), ("lm_head.weight", [c["vocab_size"], d])]]
    for i in range(a.layers):
        p = "model.layers.%d." % i
        shards.append([(p + "input_layernorm.weight", [d]), (p + "post_attention_layernorm.weight", [d])] + [
            (p + n + "_proj.weight", s) for n, s in (("self_attn.q", [d, d]), ("self_attn.k", [kv, d]), ("self_attn.v", [kv, d]), ("self_attn.o", [d, d]),
                                                    ("mlp.gate", [ff, d]), ("mlp.up", [ff, d]), ("mlp.down", [d, ff]))])
    index, total = {}, 0
    for i, s in enumerate(shards):
        name = "model-%05d-of-%05d.safetensors" % (i + 1, len(shards))
        total += write_shard(os.path.join(folder, name), s, np.random.Generator(np.random.Philox(i)))
        index.update({n: name for n, _ in s})
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": total}, "weight_map": index}, f)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(c, f)
    return total


def size(folder):
    return sum(os.path.getsize(os.path.join(at, n)) for at, _, names in os.walk(folder) for n in names)


def digest(folder, step):
    """Of what a training has at a step: the adapter's values and the optimiser's."""
    at = os.path.join(folder, "checkpoints", "checkpoint-%06d" % step)
    return [hashlib.sha256(open(os.path.join(at, n), "rb").read()).hexdigest() for n in ("trainable.safetensors", "optimizer.safetensors")]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--adaptflow", required=True)
    ap.add_argument("--work", required=True, help="folder that is made, and deleted at the end")
    ap.add_argument("--layers", type=int, default=32)
    ap.add_argument("--steps", type=int, default=4)
    ap.add_argument("--limit", type=float, default=12, help="GiB that training, merging and generating may take")
    ap.add_argument("--quantize-limit", type=float, default=2, help="GiB that quantising may take")
    ap.add_argument("--keep", action="store_true", help="leave the folder")
    ap.add_argument("--json", help="file for the figures")
    a = ap.parse_args()
    a.adaptflow, a.work, a.results = os.path.abspath(a.adaptflow), os.path.abspath(a.work), {}
    os.makedirs(a.work)
    try:
        stages(a)
    finally:
        if not a.keep:
            shutil.rmtree(a.work)
    if a.json:
        with open(a.json, "w") as f:
            json.dump(a.results, f, indent=1)


def stages(a):
    base, codes, merged = (os.path.join(a.work, n) for n in ("base", "nf4", "merged"))
    start = time.time()
    a.results["base_bytes"] = make(a, base)
    print("%.2f GB of bfloat16 shards in %.0f s" % (a.results["base_bytes"] / 1e9, time.time() - start), flush=True)
    run(a, "quantize", a.quantize_limit, ["quantize", "--model", base, "--output", codes])
    a.results["codes_bytes"] = size(codes)
    settings = {"model.path": codes, "model.dtype": "bfloat16", "model.memory_limit": "%dMiB" % (a.limit * 1024 - 512), "prepare.sequence_length": 512,
                "train.per_device_train_batch_size": 1, "method.r": 16, "method.lora_alpha": 32, "train.max_steps": a.steps,
                "train.save_steps": max(1, a.steps // 2), "train.logging_steps": 1, "train.warmup_steps": 0}
    sets = [v for k in settings for v in ("--set", "%s=%s" % (k, settings[k]))]
    _, text = run(a, "plan", a.limit, ["plan", "domain-adaptation", "--output", os.path.join(a.work, "planned"), *sets])
    print(text)
    train = ["train", "domain-adaptation", *sets, "--output"]
    whole, halves = os.path.join(a.work, "whole"), os.path.join(a.work, "halves")
    _, text = run(a, "train", a.limit, [*train, whole])
    print(text)

    first = os.path.join(halves, "checkpoints", "checkpoint-%06d" % settings["train.save_steps"])
    killed, _ = run(a, "train, killed", a.limit, [*train, halves], lambda: os.path.exists(first))
    if not killed or os.path.exists(os.path.join(halves, "checkpoints", "checkpoint-%06d" % a.steps)):
        sys.exit("the training ended before it was killed: ask for more --steps")
    run(a, "train, resumed", a.limit, [*train, halves])
    if digest(whole, a.steps) != digest(halves, a.steps):
        sys.exit("killed and resumed gives other bytes")
    print("killed and resumed: the same bytes", flush=True)

    run(a, "export", a.limit, ["export", "domain-adaptation", *sets, "--output", whole])
    adapter = os.path.join(whole, "adapter")
    print(generate(a, "generate", ["--model", codes, "--adapter", adapter, "--dtype", "bfloat16"]))
    shutil.rmtree(codes)
    missing = a.results["base_bytes"] + GIB - shutil.disk_usage(a.work).free
    if missing > 0:
        print("merging is left out: the disk lacks %.1f GB" % (missing / 1e9))
        return
    run(a, "merge", a.limit, ["merge", "--model", base, "--adapter", adapter, "--dtype", "bfloat16", "--output", merged])
    a.results["merged_bytes"] = size(merged)
    shutil.rmtree(base)
    print(generate(a, "generate, merged", ["--model", merged, "--dtype", "bfloat16+nf4"]))


def generate(a, what, args):
    """Continues a prompt by 2 and by 18 tokens: the difference is what 16 tokens take."""
    args = ["generate", *args, "--prompt", "The open() system call", "--max-new-tokens"]
    run(a, what + ", 2 tokens", a.limit, [*args, "2"])
    _, text = run(a, what, a.limit, [*args, "18"])
    less, more = a.results[what + ", 2 tokens"], a.results[what]
    for k in ("seconds", "cpu_seconds"):
        if more[k] > less[k]:
            more["tokens_per_" + k[:-1]] = round(16 / (more[k] - less[k]), 2)
    print(what, json.dumps(more), flush=True)
    return text


if __name__ == "__main__":
    main()
