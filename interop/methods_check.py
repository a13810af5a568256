#!/usr/bin/env python3
"""Hugging Face PEFT loads an adapter folder of every method that it has, and computes the logits that adaptflow computed.

    methods_check.py FOLDER     FOLDER is what `ADAPTFLOW_PEER=FOLDER go test ./peft -run TestPeerFolders` wrote

Exits 1 where a folder does not load without missing or unexpected tensors, or a logit differs by more than 2e-4.
"""
import json
import os
import sys
import warnings

import folders
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

LIMIT = 2e-4
warnings.filterwarnings("ignore")


class BlockDiagonal:
    """Stands in for the one kernel of BOFT's CUDA extension, without which PEFT has a single butterfly factor: blocks to block-diagonal matrices."""

    @staticmethod
    def forward(x):
        return (torch.stack([torch.block_diag(*b.unbind()) for b in x]),)


def principal(model, peer):
    """PSOFT decomposes the weights again on loading, and the signs of singular vectors are LAPACK's: take ours where they are equal but for them."""
    for name, module in model.named_modules():
        if not hasattr(module, "_psoft_A_cache"):
            continue
        key = name.removeprefix("base_model.model.")
        a, b = peer["psoft_A." + key], peer["psoft_B." + key]
        theirs = module._psoft_A_cache["default"], module._psoft_B_cache["default"]
        sign = torch.sign((a * theirs[0]).sum(1))
        worst = max(float((a * sign[:, None] - theirs[0]).abs().max()), float((b * sign - theirs[1]).abs().max()))
        if worst > 1e-4:
            raise ValueError("%s: other singular vectors than PEFT's, by %.1e" % (key, worst))
        module._psoft_A_cache["default"], module._psoft_B_cache["default"] = a, b


@torch.no_grad()
def check(folder):
    about = json.load(open(os.path.join(folder, "peer.json")))
    peer = load_file(os.path.join(folder, "peer.safetensors"))
    if about["peft_type"] == "BOFT":
        import peft.tuners.boft.layer as boft

        factors = json.load(open(os.path.join(folder, "adapter", "adapter_config.json")))["boft_n_butterfly_factor"]
        boft.get_fbd_cuda = (lambda: BlockDiagonal) if factors > 1 else (lambda: None)
    base = AutoModelForCausalLM.from_pretrained(about["base"], dtype=torch.float32, attn_implementation="eager").eval()
    plain = base(input_ids=peer["input_ids"]).logits
    model = PeftModel.from_pretrained(base, os.path.join(folder, "adapter")).eval()
    if about["peft_type"] == "PSOFT":
        principal(model, peer)
    task = {"task_ids": torch.zeros(len(peer["input_ids"]), dtype=torch.long)} if about["peft_type"] == "MULTITASK_PROMPT_TUNING" else {}
    got = model(input_ids=peer["input_ids"], **task).logits[:, -plain.shape[1]:]  # without the virtual tokens' rows
    moved = float((got - plain).abs().max())
    return float((got - peer["logits"]).abs().max()), moved, ""


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(folders.each(sys.argv[1], "methods' folders in Hugging Face PEFT", LIMIT, check))
