#!/usr/bin/env python3
"""adaptflow's kernels beside torch's on this machine: the two run in turn, and the times, ratios and the targets are printed as Markdown.

    kernels.py --adaptflow BIN [--python PYTHON] [--runs 3] [--tokens 2048] [--time 0.3] [--dtypes float32,bfloat16] [--threads N] [--only REGEX]
               [--busy | --cpu]

torch runs with its tuned fp32 (matrix products sent to oneDNN rather than MKL) and, for the products, in bf16 too. Each side is a process of its own.
Figures are medians of the runs' medians. --busy is for a machine on which other work runs: each side's figure is then the least of its runs' low quartiles.
Use one thread there: torch divides work evenly beforehand, and loses far more than adaptflow where another program takes one of its threads' cores.
--cpu compares the least low quartiles of the processors' time, a thread; other programs still take part of the caches and of the memory's speed.
The head of the dtypes is measured whole, too: from rows to the gradient of the cross-entropy for the rows. torch's time is the best of its ways.
SwiGLU has two rows: autograd's own, which allocates its results anew each time, and the same operations writing to warm memory, as ours do.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys

LINEARS = [("q_proj", 576, 576), ("k_proj", 192, 576), ("up_proj", 1536, 576), ("down_proj", 576, 1536), ("lm_head", 49152, 576)]


def torch_side(tokens, seq, least, dtypes, only, threads):
    import time

    import torch
    import torch.nn.functional as F

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    out = {}

    def timed(f):
        f()
        ms, cpu, start = [], [], time.perf_counter()
        while time.perf_counter() - start < least or len(ms) < 5:
            at, used = time.perf_counter(), time.process_time()
            f()
            ms.append((time.perf_counter() - at) * 1e3)
            cpu.append((time.process_time() - used) * 1e3 / threads)
        ms.sort()
        cpu.sort()
        return ms[len(ms) // 2], ms[len(ms) // 4], cpu[len(cpu) // 4]

    def put(key, *ways):
        """The best of some ways, made only where the case is wanted."""
        if re.search(only, key):
            each = [timed(f) for f in ways]
            out[key] = [min(x) for x in zip(*each)]

    onednn = torch._C._nn.mkldnn_linear
    for name in dtypes:
        dtype = getattr(torch, name)
        for lin, n, k in LINEARS:
            m = min(tokens, 512) if lin == "lm_head" else tokens
            if not any(re.search(only, "%s %s|%s" % (lin, d, name)) for d in ("forward", "dX")):
                continue
            w, x, y = (torch.randn(*s).to(dtype) for s in ((n, k), (m, k), (m, n)))
            forward, back = [lambda: x @ w.t()], [lambda: y @ w]
            if name == "float32":  # oneDNN, which the dispatcher passes over for MKL on AMD's processors
                a, b, c, d = x.to_mkldnn(), w.to_mkldnn(), y.to_mkldnn(), w.t().contiguous().to_mkldnn()
                z1, z2 = torch.zeros(n).to_mkldnn(), torch.zeros(k).to_mkldnn()
                forward.append(lambda: onednn(a, b, z1))
                back.append(lambda: onednn(c, d, z2))
            put("%s forward|%s" % (lin, name), *forward)
            put("%s dX|%s" % (lin, name), *back)

        key = "head forward+backward|" + name
        if not re.search(only, key):
            continue
        m, v, d = min(tokens, 512), 49152, 576
        w, x = (torch.randn(v, d) / 24).to(dtype), torch.randn(m, d).to(dtype)
        labels = torch.randint(0, v, (m,))

        def loss(logits, wide):
            """The cross-entropy and its gradient for the logits, of which wide makes float32 as transformers does."""
            z = logits.detach().requires_grad_()
            return torch.autograd.grad(F.cross_entropy(z.float() if wide else z, labels), z)[0]

        ways = [lambda: loss(x @ w.t(), True) @ w]
        if name == "float32":
            xm, wm, tm = x.to_mkldnn(), w.to_mkldnn(), w.t().contiguous().to_mkldnn()
            z1, z2 = torch.zeros(v).to_mkldnn(), torch.zeros(d).to_mkldnn()
            ways.append(lambda: onednn(loss(onednn(xm, wm, z1).to_dense(), True).to_mkldnn(), tm, z2))
        else:
            ways.append(lambda: loss(x @ w.t(), False) @ w)
        put(key, *ways)

    h, kv, hd = 9, 3, 64
    q = torch.randn(tokens // seq, h, seq, hd, requires_grad=True)
    k, v = (torch.randn(tokens // seq, kv, seq, hd, requires_grad=True) for _ in range(2))
    g = torch.randn(tokens // seq, h, seq, hd)
    put("attention forward+backward|float32", lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).backward(g))

    gate, up = (torch.randn(tokens, 1536, requires_grad=True) for _ in range(2))
    dy = torch.randn(tokens, 1536)
    put("swiglu forward+backward|float32", lambda: (F.silu(gate) * up).backward(dy))
    s, y, ds, dg, du = (torch.zeros(tokens, 1536) for _ in range(5))
    gate0, up0 = gate.detach(), up.detach()

    def warm():
        torch.ops.aten.silu.out(gate0, out=s)
        torch.mul(s, up0, out=y)
        torch.mul(dy, s, out=du)
        torch.mul(dy, up0, out=ds)
        torch.ops.aten.silu_backward.grad_input(ds, gate0, grad_input=dg)

    put("swiglu forward+backward, warm memory|float32", warm)
    x, w, dx = torch.randn(tokens, 576, requires_grad=True), torch.ones(576), torch.randn(tokens, 576)

    def rmsnorm():
        xf = x.float()  # as transformers' LlamaRMSNorm
        (w * (xf * torch.rsqrt(xf.pow(2).mean(-1, keepdim=True) + 1e-6))).backward(dx)

    put("rmsnorm forward+backward|float32", rmsnorm)
    return out


def run(cmd):
    return json.loads(subprocess.run(cmd, check=True, stdout=subprocess.PIPE, text=True).stdout)


def ours(bin_, tokens, seq, least, only, threads):
    out, peak, kernel_set = {}, {}, ""
    wanted = {"gemm": "(proj|lm_head) ", "head": "^head", "attention": "^attention", "elementwise": "^(swiglu|rmsnorm)"}
    for what, names in wanted.items():
        if not any(re.search(only, k) and re.search(names, k) for k in NAMES):
            continue
        r = run([bin_, "bench", what, "--tokens", str(tokens), "--seq", str(seq), "--time", "%gs" % least, "--threads", str(threads), "--json"])
        kernel_set = r["kernel_set"]
        peak.update(r.get("peak_gflops") or {})
        for c in r["cases"]:
            work = c.get("gflops", 0) * c["milliseconds"]
            times = c["milliseconds"], c["low_quartile_milliseconds"], c["low_quartile_cpu_milliseconds"] / threads
            out["%s|%s" % (c["name"], c["dtype"])] = (*times, work)
    key = "swiglu forward+backward|float32"
    if key in out:
        out[key.replace("|", ", warm memory|")] = out[key]
    return out, peak, kernel_set


NAMES = ["%s %s|%s" % (lin, d, t) for lin, _, _ in LINEARS for d in ("forward", "dX") for t in ("float32", "bfloat16")] + [
    "head forward+backward|float32", "head forward+backward|bfloat16", "attention forward+backward|float32", "swiglu forward+backward|float32",
    "swiglu forward+backward, warm memory|float32", "rmsnorm forward+backward|float32"]


def target(name):
    if name.startswith(("swiglu", "rmsnorm", "attention")):
        return {"s": ">= 4x", "r": ">= 2x", "a": ">= 3x"}[name[0]]
    if name.startswith("head"):
        return ">= 1.2x" if name.endswith("bfloat16") else ""
    if name.endswith("float32"):
        return ">= 85 % of peak, >= 1x"
    return ">= 1.2x" if name.startswith("lm_head") else ">= 82 % of peak, >= 0.9x"


def processor():
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return "unknown processor"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--adaptflow")
    ap.add_argument("--python", default=sys.executable)
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--tokens", type=int, default=2048)
    ap.add_argument("--seq", type=int, default=512)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--time", type=float, default=0.3, help="seconds a case, at least")
    ap.add_argument("--dtypes", default="float32,bfloat16", help="of the products; torch's bfloat16 is very slow without AVX-512")
    ap.add_argument("--only", default="", metavar="REGEX", help="cases to print, matched with NAME|DTYPE")
    ap.add_argument("--busy", action="store_true", help="other work runs: compare the least of the low quartiles")
    ap.add_argument("--cpu", action="store_true", help="other work runs: compare the least of the low quartiles of CPU time, a thread")
    ap.add_argument("--torch", action="store_true", help=argparse.SUPPRESS)
    a = ap.parse_args()
    dtypes = a.dtypes.split(",")
    if a.torch:
        print(json.dumps(torch_side(a.tokens, a.seq, a.time, dtypes, a.only, a.threads)))
        return
    us, them, peaks, loads = {}, {}, {}, [os.getloadavg()[0]]
    for _ in range(a.runs):
        r, p, kernel_set = ours(a.adaptflow, a.tokens, a.seq, a.time, a.only, a.threads)
        for k, v in p.items():
            peaks.setdefault(k, []).append(v)
        for k, v in r.items():
            us.setdefault(k, []).append(v)
        for k, v in run([a.python, __file__, "--torch", "--tokens", str(a.tokens), "--seq", str(a.seq), "--time", str(a.time), "--dtypes", a.dtypes,
                         "--only", a.only, "--threads", str(a.threads)]).items():
            them.setdefault(k, []).append(v)
        loads.append(os.getloadavg()[0])

    def figure(runs):
        if a.busy or a.cpu:
            return min(x[2 if a.cpu else 1] for x in runs)
        return statistics.median(x[0] for x in runs)

    print("%s, kernel set %s, threads %d; %d runs, load %.1f to %.1f; %s. Peak: %s\n" % (processor(), kernel_set, a.threads, a.runs, min(loads), max(loads),
          "least low quartiles" + " of CPU time" * a.cpu if a.busy or a.cpu else "medians",
          ", ".join("%s %.0f GFLOP/s" % (k, max(v)) for k, v in sorted(peaks.items())) or "not measured"))
    print("| kernel | dtype | adaptflow, ms | GFLOP/s | share of peak | torch's best, ms | ratio | target |\n|---|---|---|---|---|---|---|---|")
    for k, v in them.items():
        name, dtype = k.split("|")
        ms, t = figure(us[k]), figure(v)
        gf = us[k][0][3] / ms
        share = "%.0f %%" % (100 * gf / max(peaks[dtype])) if dtype in peaks and re.search("(proj|lm_head) ", name) else ""
        print("| %s | %s | %.3f | %s | %s | %.3f | %.2f | %s |" % (name, dtype, ms, "%.0f" % gf if gf else "", share, t, t / ms, target(k)))


if __name__ == "__main__":
    main()
