#!/usr/bin/env python3
"""Generating beside llama.cpp and Hugging Face transformers on this machine, over random weights of one shape: the sides run in turn, and medians and
ratios are printed.

    decode.py --adaptflow BIN --python PYTHON [--shape smol135] [--storages fp32,bf16,8bit,4bit] [--streams 1,8] [--runs 3] [--work FOLDER]

This Python has xllamacpp (the server of llama.cpp), gguf and numpy; --python one with torch and transformers, without which that side is left out. The
matrices of the blocks have the same bits a weight on both sides: LLM.int8 beside Q8_0 (8.0 and 8.5), NF4 with blocks of 64 beside Q4_0 (4.5 both);
embeddings and the head are bfloat16 then. Tokens a second are those of all texts together, from each text's second new token on, with 32 tokens before
them. The load of the machine stands beside each run: let nothing else run.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request

from bench import COMMON, SHAPES

PROMPT = 32
# adaptflow's dtype, llama.cpp's type of the projections and of embeddings and head, transformers' dtype
STORAGES = {
    "fp32": ("fp32", "F32", "F32", "float32"),
    "bf16": ("bf16", "BF16", "BF16", "bfloat16"),
    "8bit": ("bf16+int8", "Q8_0", "BF16", None),
    "4bit": ("bf16+nf4", "Q4_0", "BF16", None),
}

TRANSFORMERS = """
import json, sys, time, torch
from transformers import LlamaConfig, LlamaForCausalLM
path, dtype, streams, tokens, prompt, threads = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])
torch.set_num_threads(threads)
torch.manual_seed(0)
torch.set_default_dtype(getattr(torch, dtype))
m = LlamaForCausalLM(LlamaConfig(**json.load(open(path)))).eval()
ids = torch.randint(0, m.config.vocab_size, (streams, prompt))
def seconds(n):
    t = time.perf_counter()
    with torch.inference_mode():
        m.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, min_new_tokens=n, do_sample=False, pad_token_id=0)
    return time.perf_counter() - t
seconds(4)
print(json.dumps({"tokens_per_second": streams * (tokens - 1) / (seconds(tokens) - seconds(1))}))
"""


def write_gguf(path, c, projection, dense):
    """A GGUF file of random weights, with a vocabulary of as many tokens as the shape has."""
    import gguf
    import numpy as np
    r = np.random.default_rng(0)
    w = gguf.GGUFWriter(path, "llama")
    kv = c["hidden_size"] // c["num_attention_heads"] * c["num_key_value_heads"]
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_block_count(c["num_hidden_layers"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(c["num_key_value_heads"])
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_rope_dimension_count(c["hidden_size"] // c["num_attention_heads"])
    w.add_rope_freq_base(c["rope_theta"])
    w.add_vocab_size(c["vocab_size"])
    w.add_tokenizer_model("llama")
    names = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)]
    kinds = [2, 3, 3] + [6] * 256
    names += ["t%d" % i for i in range(c["vocab_size"] - len(names))]
    w.add_token_list(names)
    w.add_token_scores([0.0] * len(names))
    w.add_token_types(kinds + [1] * (len(names) - len(kinds)))

    def add(name, shape, kind):
        x = r.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
        q = getattr(gguf.GGMLQuantizationType, kind)
        if kind == "F32":
            w.add_tensor(name, x)
        else:
            w.add_tensor(name, gguf.quants.quantize(x, q), raw_dtype=q)

    d, ff = c["hidden_size"], c["intermediate_size"]
    add("token_embd.weight", (c["vocab_size"], d), dense)
    w.add_tensor("output_norm.weight", np.ones(d, np.float32))
    for i in range(c["num_hidden_layers"]):
        for name in "attn_norm", "ffn_norm":
            w.add_tensor("blk.%d.%s.weight" % (i, name), np.ones(d, np.float32))
        for name, shape in (("attn_q", (d, d)), ("attn_k", (kv, d)), ("attn_v", (kv, d)), ("attn_output", (d, d)), ("ffn_gate", (ff, d)),
                            ("ffn_up", (ff, d)), ("ffn_down", (d, ff))):
            add("blk.%d.%s.weight" % (i, name), shape, projection)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def serve(path, streams, tokens, threads, vocab):
    """Run in a process of its own: llama.cpp's server continues so many texts at a time."""
    import xllamacpp as x
    p = x.CommonParams()
    p.model.path = path
    p.n_ctx, p.n_parallel = streams * (PROMPT + tokens + 8), streams
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
    s = x.Server(p)

    def ask(i, n):
        body = {"prompt": [300 + (i * 7919 + k * 104729) % (vocab - 300) for k in range(PROMPT)], "n_predict": n, "temperature": 0, "ignore_eos": True,
                "cache_prompt": False}
        q = urllib.request.Request(s.listening_address + "/completion", json.dumps(body).encode(), {"Content-Type": "application/json"})
        done[i] = json.loads(urllib.request.urlopen(q, timeout=3600).read())["timings"]

    done = {}
    ask(0, 4)
    all_ = [threading.Thread(target=ask, args=(i, tokens)) for i in range(streams)]
    for t in all_:
        t.start()
    for t in all_:
        t.join()
    slowest = max(t["predicted_ms"] for t in done.values())
    print(json.dumps({"tokens_per_second": streams * (tokens - 1) / slowest * 1e3}), flush=True)
    os._exit(0)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--adaptflow")
    ap.add_argument("--python", help="with torch and transformers")
    ap.add_argument("--shape", default="smol135", choices=[s for s in SHAPES if SHAPES[s]["model_type"] == "llama"])
    ap.add_argument("--storages", default=",".join(STORAGES), type=lambda s: s.split(","))
    ap.add_argument("--streams", default="1,8", type=lambda s: [int(v) for v in s.split(",")])
    ap.add_argument("--tokens", type=int, default=64)
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--threads", type=int, default=os.cpu_count())
    ap.add_argument("--work", help="folder for the files of llama.cpp, which are kept there")
    ap.add_argument("--serve", help=argparse.SUPPRESS)
    a = ap.parse_args()
    c = {**COMMON, **{k: v for k, v in SHAPES[a.shape].items() if k != "batch"}}
    if a.serve:
        serve(a.serve, a.streams[0], a.tokens, a.threads, c["vocab_size"])
    with tempfile.TemporaryDirectory() as d:
        work = a.work or d
        config = os.path.join(d, "config.json")
        with open(config, "w") as f:
            json.dump(c, f)
        for storage in a.storages:
            ours, projection, dense, theirs = STORAGES[storage]
            path = os.path.join(work, "%s-%s.gguf" % (a.shape, storage))
            if not os.path.exists(path):
                write_gguf(path + ".part", c, projection, dense)
                os.rename(path + ".part", path)
            for streams in a.streams:
                common = [str(streams), str(a.tokens)]
                commands = {
                    "adaptflow": [a.adaptflow, "bench", "decode", "--config", config, "--dtype", ours, "--streams", common[0], "--tokens", common[1],
                                  "--prompt-tokens", str(PROMPT), "--threads", str(a.threads), "--runs", "3", "--json"],
                    "llama.cpp " + projection: [sys.executable, os.path.abspath(__file__), "--serve", path, "--shape", a.shape, "--streams", common[0],
                                                "--tokens", common[1], "--threads", str(a.threads)],
                }
                if theirs and a.python:
                    commands["transformers"] = [a.python, "-c", TRANSFORMERS, config, theirs, *common, str(PROMPT), str(a.threads)]
                compare(a, commands, "%s, %s, %d streams" % (a.shape, storage, streams))


def compare(a, commands, what):
    rates = {k: [] for k in commands}
    for _ in range(a.runs):
        for name, cmd in commands.items():
            out = subprocess.run(cmd, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
            r = json.loads(out[out.index("{"):out.rindex("}") + 1])
            rates[name].append(r["tokens_per_second"])
            more = ", %.0f%% of the bandwidth of %.1f GB/s" % (100 * r["read_bytes_per_second"] / r["bandwidth_bytes_per_second"],
                                                              r["bandwidth_bytes_per_second"] / 1e9) if "read_bytes_per_second" in r else ""
            print("%-34s %-18s %8.1f tokens/s%s, load %s" % (what, name, rates[name][-1], more, os.getloadavg()[0]), file=sys.stderr, flush=True)
    mid = {k: statistics.median(v) for k, v in rates.items()}
    print("| %s | " % what + " | ".join("%s %.1f" % (k, v) for k, v in mid.items()) + " | " +
          ", ".join("%.2f times %s" % (mid["adaptflow"] / v, k) for k, v in mid.items() if k != "adaptflow") + " |", flush=True)


if __name__ == "__main__":
    main()
