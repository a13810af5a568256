#!/usr/bin/env python3
"""Lily on rows without padding, beside the shared golden data and in its form: HF PEFT 0.21.2 mixes Lily's experts by a mean over all tokens of
the batch, padding included, and adaptflow has no padding. The case brings its inputs.

    gen_lily.py GEN OUT    GEN is the folder of the golden data's generator (peft_cases.py), OUT has models/ in it
"""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
out = sys.argv[2]
sys.argv = ["gen", "--out", out]
import torch
from common import *
from peft import *
from safetensors.torch import save_file
import peft_cases

torch.set_num_threads(1)
a = args(__doc__)
os.chdir(a.out)
t = load_file("models/llama_gqa/inputs.safetensors")
for k in t:
    if k.endswith("attention_mask"):
        t[k] = torch.ones_like(t[k])
cfg = LilyConfig(r=4, num_B=3, stride_A=2, scaling=2.0, init_weights=False, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")
m = peft_cases.run_case(a, dict(name="lily_unpadded", model="llama_gqa", cfg=cfg), t)
save_file({k: v.contiguous() for k, v in t.items()}, "peft/llama_gqa/lily_unpadded/inputs.safetensors")
print(m["trainable_params"], m["loss"], m["merge"], m["noise_floor"].get("float64"))
