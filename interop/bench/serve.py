"""Measure `adaptflow serve` on a machine that does nothing else: serve.py ADAPTFLOW DIR MODEL [llama_cpp].

MODEL is a Hugging Face folder of a Llama. Adapters of random values are written for it (r 8, all linear layers), and a server is asked through its
API for

* mixed: 16 requests of the base together, 16 of one adapter, 16 of 16 adapters: what adapters cost, by the clock and by the processors' time;
* one stream, 8 streams of one adapter and 8 of 8 adapters, and the time to the first token behind a prompt of 512 tokens.

With llama_cpp the same is asked of llama.cpp's own server (`pip install xllamacpp gguf`), with the GGUF files that adaptflow writes of the same model and
adapters: F16 against bfloat16, Q8_0 against bfloat16+int8. Sides take turns, three times; medians are printed, and all as JSON in DIR/serve.json.
"""

import concurrent.futures
import json
import os
import signal
import statistics
import struct
import subprocess
import sys
import time
import urllib.request

bin, at, model = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3])
other = sys.argv[4:] == ["llama_cpp"]
os.makedirs(at, exist_ok=True)
tokens, rank = 64, 8
config = json.load(open(os.path.join(model, "config.json")))
prompt = "The river and the sea and the old road. "


def write_adapter(folder, seed):
    """A LoRA folder of random values, in float32, by safetensors' format."""
    import random

    os.makedirs(folder, exist_ok=True)
    h, f = config["hidden_size"], config["intermediate_size"]
    hd = config.get("head_dim") or h // config["num_attention_heads"]
    q, kv = config["num_attention_heads"] * hd, config.get("num_key_value_heads", config["num_attention_heads"]) * hd
    shapes = {"self_attn.q_proj": (h, q), "self_attn.k_proj": (h, kv), "self_attn.v_proj": (h, kv), "self_attn.o_proj": (q, h),
              "mlp.gate_proj": (h, f), "mlp.up_proj": (h, f), "mlp.down_proj": (f, h)}
    r = random.Random(seed)
    noise = [r.gauss(0, 0.02) for _ in range(1 << 16)]
    head, data = {}, bytearray()
    for layer in range(config["num_hidden_layers"]):
        for name, (n_in, n_out) in shapes.items():
            for part, shape in (("A", [rank, n_in]), ("B", [n_out, rank])):
                n, begin = shape[0] * shape[1], len(data)
                from_ = r.randrange(len(noise))
                values = (noise[from_:] + noise * (n // len(noise) + 1))[:n]
                data += struct.pack(f"<{n}f", *values)
                head[f"base_model.model.model.layers.{layer}.{name}.lora_{part}.weight"] = {
                    "dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    raw = json.dumps(head).encode()
    raw += b" " * (-len(raw) % 8)
    with open(os.path.join(folder, "adapter_model.safetensors"), "wb") as out:
        out.write(struct.pack("<Q", len(raw)) + raw + data)
    json.dump({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank, "bias": "none", "base_model_name_or_path": model,
               "target_modules": [m.split(".")[1] for m in shapes]}, open(os.path.join(folder, "adapter_config.json"), "w"))


def post(url, path, body):
    q = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json", "Authorization": "Bearer none"})
    return urllib.request.urlopen(q, timeout=900)


def cpu(pid):
    t = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(t[11]) + int(t[12])) / os.sysconf("SC_CLK_TCK")


class Ours:
    def __init__(self, dtype, adapters):
        self.p = subprocess.Popen([bin, "serve", "--model", model, "--served-model-name", "base", "--dtype", dtype, "--listen", "127.0.0.1:0",
                                   "--max-model-len", "1024", "--adapter-memory", "2048"]
                                  + [x for n, f in adapters for x in ("--adapter", f"{n}={f}")], stdout=subprocess.PIPE, text=True)
        self.url, self.pid = self.p.stdout.readline().split()[-1], self.p.pid

    def stream(self, name, text, most):
        """Seconds to the first token, and to the last; the prompt differs each time, so that nothing of it is remembered."""
        began, first = time.monotonic(), None
        with post(self.url, "/v1/completions", {"model": name, "prompt": text, "max_tokens": most, "temperature": 0, "ignore_eos": True,
                                                "stream": True, "min_tokens": most}) as r:
            for line in r:
                if line.startswith(b"data: {") and first is None:
                    first = time.monotonic() - began
        return first, time.monotonic() - began

    def close(self):
        self.p.send_signal(signal.SIGTERM)
        self.p.wait(60)


class Theirs:
    """llama.cpp's server, in a process of its own."""

    code = """
import json, sys, time, xllamacpp as x
a = json.loads(sys.argv[1])
p = x.CommonParams()
p.model.path, p.n_ctx, p.n_parallel = a["model"], 8192, 8
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = a["threads"]
p.lora_adapters = [x.CommonAdapterLoraInfo(f, 0.0) for f in a["adapters"]]
s = x.Server(p)
print(s.listening_address, flush=True)
time.sleep(1 << 30)
"""

    def __init__(self, gguf, adapters):
        self.names = {n: i for i, (n, _) in enumerate(adapters)}
        self.p = subprocess.Popen([sys.executable, "-c", self.code, json.dumps({
            "model": gguf, "adapters": [f for _, f in adapters], "threads": os.cpu_count()})], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url, self.pid = self.p.stdout.readline().strip(), self.p.pid
        if not self.url.startswith("http"):
            self.url = "http://" + self.url

    def stream(self, name, text, most):
        lora = [{"id": i, "scale": float(n == name)} for n, i in self.names.items()]
        began, first = time.monotonic(), None
        with post(self.url, "/completion", {"prompt": text, "n_predict": most, "temperature": 0, "ignore_eos": True, "stream": True,
                                            "cache_prompt": False, "lora": lora}) as r:
            for line in r:
                if line.startswith(b"data: {") and first is None:
                    first = time.monotonic() - began
        return first, time.monotonic() - began

    def close(self):
        self.p.kill()
        self.p.wait()


turn = 0


def together(side, names, most=tokens, text=prompt):
    """Tokens a second of all streams together, and seconds of the processors a token."""
    global turn
    turn += 1
    before, began = cpu(side.pid), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda x: side.stream(x[1], f"{turn} {x[0]} {text}", most), enumerate(names)))
    n = len(names) * most
    return {"tokens_per_second": n / (time.monotonic() - began), "cpu_seconds_per_token": (cpu(side.pid) - before) / n}


def first_token(side, name):
    global turn
    turn += 1
    return {"seconds": side.stream(name, f"{turn} " + prompt * 51, 1)[0]}  # about 512 tokens


names = [f"a{i}" for i in range(16)]
for i, n in enumerate(names):
    if not os.path.exists(os.path.join(at, n, "adapter_config.json")):
        write_adapter(os.path.join(at, n), i)
folders = [(n, os.path.join(at, n)) for n in names]
cases = {"one stream": lambda s: together(s, names[:1]), "8 streams of one adapter": lambda s: together(s, names[:1] * 8),
         "8 streams of 8 adapters": lambda s: together(s, names[:8]), "first of 512 tokens": lambda s: first_token(s, names[0])}
mixed = {"16 of the base": lambda s: together(s, ["base"] * 16), "16 of one adapter": lambda s: together(s, names[:1] * 16),
         "16 of 16 adapters": lambda s: together(s, names)}
found = {}


def measure(label, sides, what):
    """sides: name → how to start it. They take turns, three times; each answers once before it is measured."""
    for _ in range(3):
        for side, start in sides.items():
            s = start()
            try:
                for n in names:
                    if isinstance(s, Ours) or n in s.names:
                        s.stream(n, "warm", 2)
                for case, do in what.items():
                    for k, v in do(s).items():
                        found.setdefault(label, {}).setdefault(case, {}).setdefault(side, {}).setdefault(k, []).append(v)
            finally:
                s.close()
    for case, by in found[label].items():
        print(f"{label:12s} {case:26s} " + "   ".join(
            f"{side}: " + ", ".join(f"{k} {statistics.median(v):.4g}" for k, v in keys.items()) for side, keys in by.items()), flush=True)


measure("bfloat16", {"adaptflow": lambda: Ours("bfloat16", folders)}, mixed)
if other:
    loras = []
    for n, f in folders[:8]:
        out = os.path.join(at, n + ".gguf")
        if not os.path.exists(out):
            subprocess.run([bin, "gguf", "lora", "--model", model, "--adapter", f, "--output", out], check=True)
        loras.append((n, out))
    for dtype, kind in (("bfloat16", "F16"), ("bfloat16+int8", "Q8_0")):
        gguf = os.path.join(at, f"model-{kind}.gguf")
        if not os.path.exists(gguf):
            subprocess.run([bin, "gguf", "model", "--model", model, "--output", gguf, "--quant", kind], check=True)
        measure(kind, {"adaptflow": lambda: Ours(dtype, folders), "llama.cpp": lambda: Theirs(gguf, loras)}, cases)
json.dump(found, open(os.path.join(at, "serve.json"), "w"), indent=1)
