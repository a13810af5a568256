#!/usr/bin/env python3
"""adaptflow beside Hugging Face PEFT on this machine: the two run in turn, and the medians and ratios are printed.

    bench.py --adaptflow BIN --peer hf_peft_bench.py --python PYTHON [--shape smol135] [--runs 3] [--dtypes fp32,bf16,nf4] [--memory-limit MIB]
    bench.py --adaptflow BIN --python PYTHON --shards FILE.parquet --model FOLDER_OR_CONFIG [--runs 3] [--dtypes fp32,bf16] [--rows 32]

The second form trains on packed rows that `adaptflow prepare` wrote, four to a step, beside the peer on the same examples in padded batches of eight (padded_peer.py);
tokens are those that are not padding.

The peer's fp32 is its best (matrix products sent to oneDNN); --untuned adds its default. Each run is a process of its own, so that the peak
memory is that of the whole process. --memory-limit is given to adaptflow's bf16 and NF4 runs, whose planner then computes blocks again.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

SHAPES = {
    "smol135": dict(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
                    num_attention_heads=9, num_key_value_heads=3, vocab_size=49152, tie_word_embeddings=True, batch=4),
    "gpt2": dict(model_type="gpt2", architectures=["GPT2LMHeadModel"], n_embd=768, n_layer=12, n_head=12, vocab_size=50257, n_positions=1024,
                 n_ctx=1024, layer_norm_epsilon=1e-5, activation_function="gelu_new", tie_word_embeddings=True, batch=4),
    "qwen05": dict(model_type="qwen2", architectures=["Qwen2ForCausalLM"], hidden_size=896, intermediate_size=4864, num_hidden_layers=24,
                   num_attention_heads=14, num_key_value_heads=2, vocab_size=151936, tie_word_embeddings=True, batch=1),
    "llama1b": dict(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
                    num_attention_heads=32, num_key_value_heads=8, vocab_size=128256, tie_word_embeddings=True, batch=1),
}
COMMON = dict(hidden_act="silu", max_position_embeddings=1024, rms_norm_eps=1e-6, rope_theta=10000.0, rope_scaling=None,
              attention_bias=False, mlp_bias=False)


def run(cmd):
    out = subprocess.run(cmd, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.strip().splitlines()[-1] if out.lstrip().startswith("{\"") else out)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--adaptflow", required=True)
    ap.add_argument("--peer", help="hf_peft_bench.py")
    ap.add_argument("--python", default=sys.executable)
    ap.add_argument("--shape", default="smol135", choices=sorted(SHAPES))
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--steps", type=int, default=5)
    ap.add_argument("--dtypes", default="fp32,bf16", type=lambda s: s.split(","))
    ap.add_argument("--memory-limit", type=int, default=0, help="MiB")
    ap.add_argument("--shards", help="packed rows to train on")
    ap.add_argument("--model", help="with --shards: model folder or config.json")
    ap.add_argument("--rows", type=int, default=32, help="with --shards: rows that are measured")
    ap.add_argument("--untuned", action="store_true", help="also the peer's default fp32 setting")
    a = ap.parse_args()
    if not a.peer and not a.shards:
        ap.error("--peer or --shards")
    with tempfile.TemporaryDirectory() as d:
        compare(a, *(on_shards(a) if a.shards else on_shape(a, d)))


def on_shards(a):
    """The commands of both sides on the same examples, and what is trained."""
    warmup, step = 2, 4
    padded = os.path.join(os.path.dirname(os.path.abspath(__file__)), "padded_peer.py")
    commands = {}
    for dtype in a.dtypes:
        commands["adaptflow " + dtype] = [a.adaptflow, "bench", "train", "--config", a.model, "--shards", a.shards, "--rank", "16", "--dtype", dtype,
                                          "--batch", str(step), "--warmup", str(warmup), "--steps", str(a.rows // step), "--json"]
        commands["HF PEFT " + ("fp32 (oneDNN)" if dtype == "fp32" else dtype)] = [
            a.python, padded, "--model", a.model, "--shards", a.shards, "--rows", str(a.rows + step * warmup), "--dtype", dtype]
    return commands, "%s, %d rows of examples" % (os.path.basename(a.model.rstrip("/")), a.rows)


def on_shape(a, d):
    """The commands of both sides on random weights and tokens of a shape, whose config.json is written to d, and what is trained."""
    shape = dict(SHAPES[a.shape])
    batch = shape.pop("batch")
    path = os.path.join(d, "config.json")
    with open(path, "w") as f:
        json.dump({**(COMMON if shape["model_type"] != "gpt2" else {}), **shape}, f)

    def peer(dtype, method="lora"):
        return [a.python, a.peer, "--shape", a.shape, "--method", method, "--dtype", dtype, "--batch", str(batch), "--seq", "512",
                "--steps", str(a.steps), "--rank", "16"]

    def ours(dtype, limit=0):
        return [a.adaptflow, "bench", "train", "--config", path, "--method", "lora", "--rank", "16", "--dtype", dtype, "--batch", str(batch),
                "--seq", "512", "--steps", str(a.steps), "--memory-limit", str(limit), "--json"]

    commands = {}
    if "fp32" in a.dtypes:
        commands["adaptflow fp32"] = ours("fp32")
        commands["HF PEFT fp32 (oneDNN)"] = peer("fp32") + ["--onednn-fp32"]
    if a.untuned:
        commands["HF PEFT fp32 (default)"] = peer("fp32")
    if "bf16" in a.dtypes:
        commands["adaptflow bf16"] = ours("bf16", a.memory_limit)
        commands["HF PEFT bf16"] = peer("bf16")
    if "nf4" in a.dtypes:  # both with double quantisation, bitsandbytes' setting for QLoRA
        commands["adaptflow NF4, bf16"] = ours("bf16+nf4_dq", a.memory_limit)
        commands["bitsandbytes QLoRA, bf16"] = peer("bf16", "qlora")
    return commands, "%s, %d x 512" % (a.shape, batch)


def compare(a, commands, what):
    rows = {k: [] for k in commands}
    for _ in range(a.runs):
        for name, cmd in commands.items():
            r = run(cmd)
            mib = r["peak_rss_bytes"] / 2**20 if "peak_rss_bytes" in r else r["peak_rss_mib"]
            rows[name].append((r.get("tokens_per_second") or r["tokens_per_s"], mib, r.get("planned_bytes", 0) / 2**20))
            print("%-24s %8.1f tokens/s %8.0f MiB, load %s" % (name, *rows[name][-1][:2], os.getloadavg()[0]), file=sys.stderr, flush=True)
    rate, mem, plan = ({k: statistics.median(r[i] for r in v) for k, v in rows.items()} for i in range(3))
    best = max((k for k in rate if not k.startswith("adaptflow")), key=rate.get)
    print("| %s, LoRA r 16 on all linears | tokens/s | ratio to the peer's best | peak memory, MiB | share | planned, MiB |\n|---|---|---|---|---|---|" % what)
    for k in commands:
        print("| %s | %.1f | %.2f | %.0f | %.2f | %s |" % (k, rate[k], rate[k] / rate[best], mem[k], mem[k] / mem[best], "%.0f" % plan[k] if plan[k] else ""))


if __name__ == "__main__":
    main()
