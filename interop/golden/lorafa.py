"""Ten steps of HF PEFT's LoRA-FA optimiser: lorafa.py GEN MODELS OUT.

GEN is the folder of the golden data's generators (common.py), MODELS a folder with the model llama_gqa, OUT gets CASE/ with the adapter before, the parameters
after the steps (final.*) and meta.json. The optimiser is that of peft.optimizers.create_lorafa_optimizer; its product with the inverse of A·A^T is float32
here, as PEFT has it where torch has no bfloat16, and meta.json says how far the same steps in bfloat16 end from these."""
import copy
import os
import sys

gen, models, out = (os.path.abspath(p) for p in sys.argv[1:4])
sys.path.insert(0, gen)
import torch
from common import jsonable, load_file, maxdiff, save_json, save_tensors
import peft.optimizers.lorafa as lorafa
from peft import LoraConfig, get_peft_model
from peft_cases import perturb, short
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup

torch.set_num_threads(1)
os.chdir(os.path.dirname(models))
t = load_file(models + "/llama_gqa/inputs.safetensors")
cases = {
    "patterns": dict(rank_pattern={"q_proj": 4}, alpha_pattern={"down_proj": 5}, target_modules=["q_proj", "v_proj", "down_proj"], modules_to_save=["norm"]),
    "rslora": dict(use_rslora=True, target_modules=["k_proj", "up_proj", "lm_head"]),
}


def steps(model, cfg, bf16):
    lorafa.is_bf16_available = lambda: bf16
    o = lorafa.create_lorafa_optimizer(model, r=cfg.r, lora_alpha=cfg.lora_alpha, lr=5e-3, weight_decay=0.01)
    s = get_cosine_schedule_with_warmup(o, 3, 10)
    rec = dict(losses=[], lrs=[], grad_norms=[])
    for i in range(10):
        loss = model(**{k: t["train_" + k][i] for k in ("input_ids", "attention_mask", "labels")}).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        rec["losses"].append(float(loss.detach()))
        rec["lrs"].append(o.param_groups[0]["lr"])
        rec["grad_norms"].append(float(norm))
        o.step()
        s.step()
        o.zero_grad()
    return rec, {short(n): p.detach() for n, p in model.named_parameters() if p.requires_grad}


for name, fields in cases.items():
    torch.manual_seed(11)
    base = AutoModelForCausalLM.from_pretrained("models/llama_gqa", dtype=torch.float32, attn_implementation="eager").eval()
    cfg = LoraConfig(**{**dict(r=6, lora_alpha=16, task_type="CAUSAL_LM"), **fields})
    model = get_peft_model(base, cfg).eval()
    perturb(model, 12, 0.02)
    d = f"{out}/{name}"
    model.save_pretrained(d + "/adapter", save_embedding_layers=False)
    os.remove(d + "/adapter/README.md")
    other = copy.deepcopy(model)
    rec, final = steps(model, cfg, False)
    low, rounded = steps(other, cfg, True)
    save_tensors(d + "/expected.safetensors", {"final." + k: v for k, v in final.items()})
    save_json(d + "/meta.json", jsonable(dict(case=name, model="models/llama_gqa", optimiser="peft.optimizers.create_lorafa_optimizer", lr=5e-3, weight_decay=0.01,
              warmup_steps=3, max_steps=10, max_grad_norm=1.0, trajectory=rec, bfloat16=dict(losses=low["losses"],
              final_max_abs=max(maxdiff(rounded[k], final[k]) for k in final)))))
    print(name, rec["losses"][0], rec["losses"][-1], low["losses"][-1], sorted(final)[:3])
