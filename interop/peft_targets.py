#!/usr/bin/env python3
"""Writes which modules HF PEFT targets, for a table of module names and configurations: peft_targets.py > peft/testdata/targets/targets.json"""
import json

from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists

NAMES = ["model.embed_tokens", "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj", "model.layers.1.self_attn.q_proj",
         "model.layers.10.self_attn.q_proj", "model.layers.1.mlp.up_proj", "model.layers.1.mlp.gate_up_proj", "model.layers.2.mlp.down_proj", "lm_head",
         "transformer.h.0.attn.c_attn", "transformer.h.11.mlp.c_fc", "transformer.wte", "gpt_neox.layers.3.attention.query_key_value", "q_proj", "my_q_proj",
         "model.layers.0.block.1.q_proj", "encoder.block.2.layer.0.SelfAttention.q"]
CONFIGS = [
    dict(target_modules=["q_proj"]), dict(target_modules=["q_proj", "v_proj"]), dict(target_modules=["self_attn.q_proj"]), dict(target_modules=["proj"]),
    dict(target_modules=["model.layers.0.self_attn.q_proj"]), dict(target_modules="q_proj"), dict(target_modules=r".*\.q_proj"),
    dict(target_modules=r"model\.layers\.[0-9]\.self_attn\.(q|v)_proj"), dict(target_modules=r"model\.layers\.\d+\..*up_proj"), dict(target_modules=r".*(q_proj|lm_head)$"),
    dict(target_modules=r"(?!.*mlp).*proj"), dict(target_modules=["q_proj", "up_proj"], exclude_modules=["model.layers.1.self_attn.q_proj"]),
    dict(target_modules=["q_proj", "up_proj"], exclude_modules=["mlp.up_proj"]), dict(target_modules=["q_proj"], exclude_modules=r"model\.layers\.1\..*"),
    dict(target_modules=r".*proj", exclude_modules=["down_proj"]), dict(target_modules=["q_proj"], layers_to_transform=[0]), dict(target_modules=["q_proj"], layers_to_transform=1),
    dict(target_modules=["q_proj"], layers_to_transform=[1, 10]), dict(target_modules=["q_proj"], layers_to_transform=[0, 1], layers_pattern="layers"),
    dict(target_modules=["c_attn", "c_fc"], layers_to_transform=[11], layers_pattern=["h"]), dict(target_modules=["q_proj"], layers_to_transform=[0], layers_pattern="h"),
    dict(target_modules=["q_proj"], layers_to_transform=[1], layers_pattern=["block", "layers"]), dict(target_modules=["query_key_value"], layers_to_transform=3),
    dict(target_modules=["q"], layers_to_transform=[2], layers_pattern="block"), dict(target_modules=["q_proj", "lm_head"], modules_to_save=["lm_head"]),
    dict(target_modules=["embed_tokens", "wte"]), dict(target_modules=["q_proj"], modules_to_save=["self_attn"]), dict(target_modules=["layers.1.self_attn.q_proj", "q"]),
]
out = []
for c in CONFIGS:
    cfg = LoraConfig(**c)
    out.append({"config": c, "targeted": [n for n in NAMES if bool(check_target_module_exists(cfg, n))]})
print(json.dumps({"names": NAMES, "cases": out}, indent=1))
