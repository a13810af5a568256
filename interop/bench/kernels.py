#!/usr/bin/env python3
"""adaptflow's kernels beside torch's on this machine: the two run in turn, and the medians, ratios and the targets are printed as Markdown.

    kernels.py --adaptflow BIN [--python PYTHON] [--runs 3] [--tokens 2048]

torch runs with its tuned fp32 (matrix products sent to oneDNN rather than MKL) and, for the products, in bf16 too. Each side is a process of its own.
"""
import argparse
import json
import statistics
import subprocess
import sys

LINEARS = [("q_proj", 576, 576), ("k_proj", 192, 576), ("up_proj", 1536, 576), ("down_proj", 576, 1536), ("lm_head", 49152, 576)]


def torch_side(tokens, seq):
    import time

    import torch
    import torch.nn.functional as F

    torch.manual_seed(0)
    torch.set_num_threads(2)

    def median(f, least=0.3):
        f()
        ms, start = [], time.perf_counter()
        while time.perf_counter() - start < least or len(ms) < 5:
            at = time.perf_counter()
            f()
            ms.append((time.perf_counter() - at) * 1e3)
        return statistics.median(ms)

    out = {}
    for dtype, name in ((torch.float32, "float32"), (torch.bfloat16, "bfloat16")):
        for lin, n, k in LINEARS:
            m = min(tokens, 512) if lin == "lm_head" else tokens
            w, x, y = (torch.randn(*s).to(dtype) for s in ((n, k), (m, k), (m, n)))
            if name == "float32":  # oneDNN, which the dispatcher passes over for MKL on this processor
                wt = w.t().contiguous()
                a, b, c, d = x.to_mkldnn(), w.to_mkldnn(), y.to_mkldnn(), wt.to_mkldnn()
                z1, z2 = torch.zeros(n).to_mkldnn(), torch.zeros(k).to_mkldnn()
                tuned = [median(lambda: torch.ops.aten.mkldnn_linear(a, b, z1) if hasattr(torch.ops.aten, "mkldnn_linear") else torch._C._nn.mkldnn_linear(a, b, z1)),
                         median(lambda: torch._C._nn.mkldnn_linear(c, d, z2))]
            else:
                tuned = [float("inf"), float("inf")]
            plain = [median(lambda: x @ w.t()), median(lambda: y @ w)]
            for direction, u, v in (("forward", plain[0], tuned[0]), ("dX", plain[1], tuned[1])):
                out["%s %s|%s" % (lin, direction, name)] = min(u, v)
    h, kv, hd = 9, 3, 64
    q = torch.randn(tokens // seq, h, seq, hd, requires_grad=True)
    k, v = (torch.randn(tokens // seq, kv, seq, hd, requires_grad=True) for _ in range(2))
    g = torch.randn(tokens // seq, h, seq, hd)

    def attention():
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        o.backward(g)

    out["attention forward+backward|float32"] = median(attention)
    gate, up = (torch.randn(tokens, 1536, requires_grad=True) for _ in range(2))
    dy = torch.randn(tokens, 1536)

    def swiglu():
        (F.silu(gate) * up).backward(dy)

    out["swiglu forward+backward|float32"] = median(swiglu)
    x, w, dx = torch.randn(tokens, 576, requires_grad=True), torch.ones(576), torch.randn(tokens, 576)

    def rmsnorm():
        xf = x.float()  # as transformers' LlamaRMSNorm
        (w * (xf * torch.rsqrt(xf.pow(2).mean(-1, keepdim=True) + 1e-6))).backward(dx)

    out["rmsnorm forward+backward|float32"] = median(rmsnorm)
    return out


def run(cmd):
    return json.loads(subprocess.run(cmd, check=True, stdout=subprocess.PIPE, text=True).stdout)


def ours(bin_, tokens, seq):
    out, peak = {}, {}
    for what in ("gemm", "attention", "elementwise"):
        r = run([bin_, "bench", what, "--tokens", str(tokens), "--seq", str(seq), "--json"])
        peak.update(r.get("peak_gflops") or {})
        for c in r["cases"]:
            out["%s|%s" % (c["name"], c["dtype"])] = (c["milliseconds"], c.get("gflops", 0), c.get("share_of_peak", 0))
    for n in ("swiglu", "rmsnorm"):
        out[n + " forward+backward|float32"] = (out[n + " forward|float32"][0] + out[n + " backward|float32"][0], 0, 0)
    return out, peak


def target(name):
    if name.startswith(("swiglu", "rmsnorm", "attention")):
        return {"s": ">= 4x", "r": ">= 2x", "a": ">= 3x"}[name[0]]
    if name.endswith("float32"):
        return ">= 85 % of peak, >= 1x"
    return ">= 1.2x" if name.startswith("lm_head") else ">= 82 % of peak, >= 0.9x"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--adaptflow")
    ap.add_argument("--python", default=sys.executable)
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--tokens", type=int, default=2048)
    ap.add_argument("--seq", type=int, default=512)
    ap.add_argument("--torch", action="store_true", help=argparse.SUPPRESS)
    a = ap.parse_args()
    if a.torch:
        print(json.dumps(torch_side(a.tokens, a.seq)))
        return
    us, them, peaks = {}, {}, {}
    for _ in range(a.runs):
        r, p = ours(a.adaptflow, a.tokens, a.seq)
        for k, v in p.items():
            peaks.setdefault(k, []).append(v)
        for k, v in r.items():
            us.setdefault(k, []).append(v)
        for k, v in run([a.python, __file__, "--torch", "--tokens", str(a.tokens), "--seq", str(a.seq)]).items():
            them.setdefault(k, []).append(v)
    print("Peak: " + ", ".join("%s %.0f GFLOP/s" % (k, max(v)) for k, v in sorted(peaks.items())) + "\n")
    print("| kernel | dtype | adaptflow, ms | GFLOP/s | share of peak | torch's best, ms | ratio | target |\n|---|---|---|---|---|---|---|---|")
    for k, v in them.items():
        name, dtype = k.split("|")
        ms = statistics.median(x[0] for x in us[k])
        gf, t = statistics.median(x[1] for x in us[k]), statistics.median(v)
        share = "%.0f %%" % (100 * gf / max(peaks[dtype])) if us[k][0][2] else ""
        print("| %s | %s | %.3f | %s | %s | %.3f | %.2f | %s |" % (name, dtype, ms, "%.0f" % gf if gf else "", share, t, t / ms, target(k)))


if __name__ == "__main__":
    main()
