"""Each family that llama.cpp has, in llama.cpp: the small models of model/testdata/gguf, written by adaptflow in the
quantisations that are named, rows that are not whole blocks in the types that take their place; log-probabilities and greedy tokens against
adaptflow's own logits, and every file read by gguf's reader.
usage: python gguf_families.py ADAPTFLOW WORKDIR FOLDER QUANT…      (with xllamacpp, gguf and numpy; FOLDER has the GGUF files)"""
import json
import pathlib
import struct
import subprocess
import sys

import gguf
import numpy as np
from llamacpp import Model

# The largest difference of a log-probability among the likeliest. llama.cpp rounds what it multiplies the weights with: to half precision and
# bfloat16, and to 8 bits for blocks, which these small random models feel more than a trained one. So what it computes of blocks is compared
# twice: in the file, and widened to float32, where nothing is rounded.
EXACT = 2e-3
TOLERANCE = {"F32": EXACT, "F16": 2e-2, "BF16": 1e-1}
BLOCKS = 4e-1
# What llama.cpp computes otherwise than transformers.
OTHERWISE = {"phi3_short": "llama.cpp takes the factors for long texts by the size of its context, 256 at least, and not by the text's length"}
IDS = [5, 17, 33, 9, 9, 40, 21, 3, 46, 30, 12, 7, 25, 38]
NEW = 6


def adaptflow(binary, *args):
    p = subprocess.run([binary, *map(str, args)], capture_output=True, text=True)
    if p.returncode:
        sys.exit(f"adaptflow {' '.join(map(str, args))}: {p.stderr}")
    return p.stdout


def tensors(path, ids):
    v = np.ascontiguousarray([ids], np.int64)
    h = json.dumps({"input_ids": {"dtype": "I64", "shape": list(v.shape), "data_offsets": [0, v.nbytes]}}).encode()
    path.write_bytes(struct.pack("<Q", len(h)) + h + v.tobytes())


def ours(binary, work, source, ids, *more):
    """log-probabilities [T, V] of a text by adaptflow."""
    tensors(work / "ids.safetensors", ids)
    adaptflow(binary, "logits", "--model", source, "--input", work / "ids.safetensors", "--output", work / "logits.safetensors", *more)
    raw = (work / "logits.safetensors").read_bytes()
    n = struct.unpack("<Q", raw[:8])[0]
    i = json.loads(raw[8:8 + n])["logits"]
    x = np.frombuffer(raw[8 + n + i["data_offsets"][0]:8 + n + i["data_offsets"][1]], np.float32).reshape(i["shape"])[0].astype(np.float64)
    x -= x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def with_tokenizer(source, to):
    """A copy of a file without a tokenizer, with one of single bytes, which llama.cpp wants to have."""
    r = gguf.GGUFReader(source)
    arch = r.fields["general.architecture"].contents()
    w = gguf.GGUFWriter(to, arch)
    for key, f in r.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture" or key.startswith("tokenizer."):
            continue
        kind = f.types[0]
        w.add_key_value(key, f.contents(), kind, f.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    size = next(int(t.shape[1]) for t in r.tensors if t.name == "token_embd.weight")
    letters = [chr(c) for c in range(33, 127)] + [chr(c) for c in range(161, 173)] + [chr(c) for c in range(174, 256)] + [chr(256 + c) for c in range(68)]
    tokens = (["<|endoftext|>"] + letters + [f"<|extra_{i}|>" for i in range(size)])[:size]
    tokens[-1] = "!!"
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([3 if t.startswith("<|") else 1 for t in tokens])
    w.add_token_merges(["! !"])
    w.add_bos_token_id(0)
    w.add_eos_token_id(0)
    w.add_add_bos_token(False)
    for t in r.tensors:
        if arch == "qwen3" and t.name.endswith(".bias"):
            continue  # llama.cpp has none there
        w.add_tensor(t.name, t.data)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def compare(what, tolerance, path, want, lora=None):
    m = Model(path, lora)
    ids, new = list(IDS), []
    got = m.log_probabilities(ids)
    top = np.argsort(got, -1)[:, -5:]  # the likeliest five of each place
    worst = float(np.abs(np.take_along_axis(got - want(ids), top, -1)).max())
    for _ in range(NEW):  # greedily
        new.append(int(m.log_probabilities(ids + new)[-1].argmax()))
    m.close()
    mine = want(ids + new)[len(ids) - 1:-1].argmax(-1).tolist()
    same = sum(a == b for a, b in zip(mine, new))
    print(f"{what:28s} largest difference of a log-probability {worst:.1e} (at most {tolerance:g}), greedy tokens {same} of {NEW}", flush=True)
    if worst > tolerance or tolerance <= 2e-3 and same != NEW:
        sys.exit(f"{what}: not llama.cpp's")


def embedding_adapter(base, to):
    """A random LoRA adapter on the embedding, the head and the queries of the first layer; None where the head is tied to the embedding, or
    the names are not those of Llama."""
    r = gguf.GGUFReader(base)
    arch = r.fields["general.architecture"].contents()
    sizes = {t.name: [int(n) for n in t.shape] for t in r.tensors}  # columns first
    if arch not in ("llama", "qwen2") or "output.weight" not in sizes:
        return None
    to.mkdir(exist_ok=True)
    random, at, blobs, header = np.random.default_rng(3), 0, [], {}
    (d, vocab), (_, q) = sizes["token_embd.weight"], sizes["blk.0.attn_q.weight"]
    for name, shape in {"model.embed_tokens.lora_embedding_A": (2, vocab), "model.embed_tokens.lora_embedding_B": (d, 2),
                        "lm_head.lora_A.weight": (2, d), "lm_head.lora_B.weight": (vocab, 2),
                        "model.layers.0.self_attn.q_proj.lora_A.weight": (2, d), "model.layers.0.self_attn.q_proj.lora_B.weight": (q, 2)}.items():
        blobs.append(random.normal(0, 0.3, shape).astype(np.float32).tobytes())
        header["base_model.model." + name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(blobs[-1])]}
        at += len(blobs[-1])
    h = json.dumps(header).encode()
    (to / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(h)) + h + b"".join(blobs))
    (to / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "base",
        "target_modules": ["embed_tokens", "lm_head", "model.layers.0.self_attn.q_proj"]}))
    return to


def main(binary, work, folder, *quants):
    work = pathlib.Path(work)
    work.mkdir(parents=True, exist_ok=True)
    for source in sorted(pathlib.Path(folder).glob("*.gguf")):
        if source.stem in OTHERWISE:
            print(f"{source.stem}: left out, {OTHERWISE[source.stem]}")
            continue
        base = work / "base.gguf"
        with_tokenizer(str(source), str(base))
        for quant in quants:
            path = work / "model.gguf"
            r = json.loads(adaptflow(binary, "gguf", "model", "--model", base, "--quant", quant, "--output", path, "--json"))
            if len([t for t in gguf.GGUFReader(path).tensors if not t.name.startswith("rope_")]) != sum(t["tensors"] for t in r["types"]):
                sys.exit(f"{path}: gguf's reader finds other tensors")
            compare(f"{source.stem} {quant}", TOLERANCE.get(quant, BLOCKS), path, lambda ids: ours(binary, work, path, ids))
            wide = work / "wide.gguf"
            if quant == "F32":
                compare(f"{source.stem} as it came", EXACT, path, lambda ids: ours(binary, work, base, ids))
                if adapter := embedding_adapter(base, work / "adapter"):
                    lora = work / "lora.gguf"
                    adaptflow(binary, "gguf", "lora", "--model", base, "--adapter", adapter, "--output", lora)
                    compare(f"{source.stem} with an adapter", EXACT, path, lambda ids: ours(binary, work, base, ids, "--adapter", adapter), lora)
            else:
                adaptflow(binary, "gguf", "model", "--model", path, "--quant", "F32", "--output", wide)
                compare(f"{source.stem} {quant}, widened", EXACT, wide, lambda ids: ours(binary, work, path, ids))


if __name__ == "__main__":
    main(*sys.argv[1:])
