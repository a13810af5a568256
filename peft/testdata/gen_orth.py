#!/usr/bin/env python3
"""Cases of orthogonal and selective methods beside those of the shared golden data, in its form: HF PEFT 0.21.2 on its small models.

    gen_orth.py GEN OUT    GEN is the folder of the golden data's generator (peft_cases.py), OUT has models/ in it

BOFT with several butterfly factors needs PEFT's CUDA extension; here torch's block_diag stands in for the extension's one kernel.
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
import peft.tuners.boft.layer as boft
import peft_cases

torch.set_num_threads(1)


class BlockDiagonal:
    """fbd_cuda: [N, D, H, H] to the block-diagonal matrices [N, D*H, D*H], and its gradient."""

    @staticmethod
    def forward(x):
        return (torch.stack([torch.block_diag(*b.unbind()) for b in x]),)

    @staticmethod
    def backward(g, x):
        n, d, h, _ = x.shape
        return (torch.stack([torch.stack([g[i, j * h:(j + 1) * h, j * h:(j + 1) * h] for j in range(d)]) for i in range(n)]),)


boft.get_fbd_cuda = lambda: BlockDiagonal
CLM = "CAUSAL_LM"
cases = [
    ("boft_factors", BOFTConfig(boft_block_size=4, boft_n_butterfly_factor=3, target_modules=["q_proj", "v_proj"], task_type=CLM), "qwen2"),
    ("boft_num", BOFTConfig(boft_block_size=0, boft_block_num=8, boft_n_butterfly_factor=2, target_modules=["o_proj", "up_proj"], task_type=CLM), "llama_gqa"),
    ("ln_tuning", LNTuningConfig(task_type=CLM), "gpt2"),
    ("psoft_neumann", PsoftConfig(r=4, psoft_alpha=8, ab_svd_init="pissa_init", use_cayley_neumann=True, cayley_neumann_eps=0.1, psoft_mag_b=False,
                                  target_modules=["v_proj"], task_type=CLM), "llama_gqa"),
    ("psoft_free", PsoftConfig(r=4, psoft_orth=False, psoft_mag_a=False, target_modules=["o_proj"], task_type=CLM), "llama_gqa"),
    ("oft_r", OFTConfig(r=6, oft_block_size=0, num_cayley_neumann_terms=3, target_modules=["q_proj", "down_proj"], bias="all", task_type=CLM), "qwen2"),
    ("ia3_pattern", IA3Config(target_modules=r".*\.(v_proj|down_proj)", feedforward_modules=r".*\.down_proj", task_type=CLM), "qwen2"),
    ("hra_odd", HRAConfig(r=3, target_modules=["k_proj", "down_proj"], layers_to_transform=1, bias="hra_only", task_type=CLM), "qwen2"),
    ("road_1", RoadConfig(variant="road_1", group_size=8, target_modules=["q_proj", "v_proj"], task_type=CLM), "qwen2"),
    ("c3a_pattern", C3AConfig(block_size=16, block_size_pattern={"q_proj": 32}, target_modules=["q_proj", "k_proj"], bias="all", task_type=CLM), "qwen2"),
]
a = args(__doc__)
os.chdir(a.out)
for name, cfg, model in cases:
    t = load_file(f"models/{model}/inputs.safetensors")
    m = peft_cases.run_case(a, dict(name=name, model=model, cfg=cfg), t)
    print(name, m["trainable_params"], m["loss"], m["merge"], m["noise_floor"].get("float64"))
