"""What adaptflow writes as GGUF files, in the real llama.cpp: each quantisation of a model, and an adapter over it, loaded by xllamacpp's server
and read by gguf's reader; log-probabilities and greedy tokens against adaptflow's own logits of the folder, or of the file.
usage: python gguf_llamacpp.py ADAPTFLOW WORKDIR MODEL [ADAPTER]      (with xllamacpp, gguf and numpy)"""
import json
import pathlib
import struct
import subprocess
import sys
import urllib.request

import gguf
import numpy as np
import xllamacpp

# The largest difference of a log-probability of the five likeliest tokens. llama.cpp quantises what it
# multiplies blocks with.
TOLERANCE = {"F32": 2e-3, "F16": 2e-3, "BF16": 2e-2, "Q8_0": 1e-1, "Q6_K": 1e-1, "Q5_K_M": 1.5e-1, "Q4_K_M": 2e-1, "Q4_0": 2e-1}
PROMPTS = ["The function returns", "ls - list directory contents\n", "Größe naïve café 你好", "def f(x):\n    return x**2", "She looked at him and"]
NEW = 8

bin_, work, model = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
adapter = sys.argv[4] if len(sys.argv) > 4 else None
work.mkdir(parents=True, exist_ok=True)


def adaptflow(*args):
    p = subprocess.run([bin_, *map(str, args)], capture_output=True, text=True)
    if p.returncode:
        sys.exit(f"adaptflow {' '.join(map(str, args))}: {p.stderr}")
    return p.stdout


def post(url, body):
    r = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.loads(urllib.request.urlopen(r, timeout=300).read())


def llamacpp(path, lora=None):
    """ids, greedy ids and the first token's likeliest of each prompt."""
    p = xllamacpp.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.warmup = str(path), 512, 1, False
    p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it rounds to half precision
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 2
    if lora:
        p.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(lora), 1.0)]
    s = xllamacpp.Server(p)
    out = []
    for text in PROMPTS:
        ids = post(s.listening_address + "/tokenize", {"content": text, "add_special": True})["tokens"]
        r = post(s.listening_address + "/completion", {"prompt": ids, "n_predict": NEW, "temperature": -1, "n_probs": 5, "cache_prompt": False,
                                                       "repeat_penalty": 1.0, "return_tokens": True, "ignore_eos": True})
        first = r["completion_probabilities"][0]  # a token that ends within a character has none
        out.append((ids, r["tokens"], [(q["id"], q["logprob"]) for q in first["top_logprobs"]] if first["id"] == r["tokens"][0] else []))
    del s
    return out


def tensors(path, **arrays):
    head, at, blobs = {}, 0, []
    for k, v in arrays.items():
        v = np.ascontiguousarray(v, np.int64)
        head[k] = {"dtype": "I64", "shape": list(v.shape), "data_offsets": [at, at + v.nbytes]}
        at, blobs = at + v.nbytes, blobs + [v.tobytes()]
    h = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(h)) + h + b"".join(blobs))


def logits(source, ids, adapter=None):
    """log-probabilities [T, V] of a text by adaptflow."""
    tensors(work / "ids.safetensors", input_ids=np.array([ids]))
    more = ["--adapter", adapter] if adapter else []
    adaptflow("logits", "--model", source, "--input", work / "ids.safetensors", "--output", work / "logits.safetensors", *more)
    raw = (work / "logits.safetensors").read_bytes()
    n = struct.unpack("<Q", raw[:8])[0]
    i = json.loads(raw[8:8 + n])["logits"]
    x = np.frombuffer(raw[8 + n + i["data_offsets"][0]:8 + n + i["data_offsets"][1]], np.float32).reshape(i["shape"])[0].astype(np.float64)
    x -= x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def compare(what, tolerance, answers, source, adapter=None):
    worst, same, n = 0.0, 0, 0
    for ids, new, top in answers:
        ours = logits(source, ids + new, adapter)
        worst = max([worst] + [abs(ours[len(ids) - 1, t] - p) for t, p in top])
        same += int((ours[len(ids) - 1:-1].argmax(-1) == np.array(new)).sum())
        n += len(new)
    print(f"{what:24s} largest difference of a log-probability {worst:.2e} (at most {tolerance:g}), greedy tokens {same} of {n}", flush=True)
    if worst > tolerance or tolerance <= 2e-3 and same != n:
        sys.exit(f"{what}: not llama.cpp's")


for quant, tolerance in TOLERANCE.items():
    path = work / f"{quant}.gguf"
    r = json.loads(adaptflow("gguf", "model", "--model", model, "--quant", quant, "--output", path, "--json"))
    if len(gguf.GGUFReader(path).tensors) != sum(t["tensors"] for t in r["types"]):
        sys.exit(f"{path}: gguf's reader finds other tensors")
    compare(f"{r['architecture']} {quant}", tolerance, llamacpp(path), model if quant == "F32" else path)
    if adapter and quant == "F32":
        lora = work / "lora.gguf"
        adaptflow("gguf", "lora", "--model", model, "--adapter", adapter, "--output", lora, "--json")
        compare("adapter", tolerance, llamacpp(path, lora), model, adapter)
        adaptflow("gguf", "model", "--model", model, "--adapter", adapter, "--quant", quant, "--output", work / "merged.gguf")
        compare("merged", tolerance, llamacpp(work / "merged.gguf"), model, adapter)
    if quant != "F32":
        path.unlink()
