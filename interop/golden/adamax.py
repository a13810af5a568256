"""The steps of torch.optim.Adamax, the example of CONTRIBUTING.md, in the form of golden/optim: adamax.py OPTIM OUT.

OPTIM is a folder with inputs.safetensors (train/testdata/optim), OUT gets optimisers.json and adamax.safetensors."""
import json
import os
import sys

import torch
from safetensors.torch import load_file, save_file

source, out = sys.argv[1:3]
t = load_file(os.path.join(source, "inputs.safetensors"))
n = sum(k.startswith("p0.") for k in t)
params = [torch.nn.Parameter(t[f"p0.{i}"].clone()) for i in range(n)]
kw = dict(lr=1e-2, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.05)
opt = torch.optim.Adamax(params, foreach=False, **kw)
steps = len(t["grad.0"])
history = [[] for _ in params]
for s in range(steps):
    for i, p in enumerate(params):
        p.grad = t[f"grad.{i}"][s].clone()
    opt.step()
    for h, p in zip(history, params):
        h.append(p.detach().clone())
os.makedirs(out, exist_ok=True)
save_file({f"p.{i}": torch.stack(h) for i, h in enumerate(history)}, os.path.join(out, "adamax.safetensors"), metadata={"format": "pt"})
with open(os.path.join(out, "optimisers.json"), "w") as f:
    json.dump(dict(steps=steps, optimisers=dict(adamax=dict(cls="torch.Adamax", **kw))), f, indent=1)
    f.write("\n")
