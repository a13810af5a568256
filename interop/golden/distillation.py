"""Ten steps of distillation with TRL's loss: distillation.py GEN MODELS OUT, with trl 0.24.0 beside the peers (pip install --no-deps).

GEN is the folder of the golden data's generators (common.py), MODELS a folder with the models, OUT gets CASE/ with the adapter before, the parameters after the
steps (final.*) and meta.json. The loss is alpha times GKDTrainer.generalized_jsd_loss with beta 0 (the divergence of the teacher from the student) plus 1 - alpha times the
model's own; of several teachers it takes the mean of their probabilities. adaptflow reports cross entropy, which is more by alpha times the teacher's entropy: "losses".
It is the row before a label that predicts it, so logits lose their last row and labels their first."""
import os
import sys

gen, models, out = (os.path.abspath(p) for p in sys.argv[1:4])
sys.path.insert(0, gen)
import torch
from common import jsonable, load_file, save_json, save_tensors
from peft import LoraConfig, get_peft_model
from peft_cases import perturb, short
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup
from trl.trainer.gkd_trainer import GKDTrainer

torch.set_num_threads(1)
os.chdir(os.path.dirname(models))
t = load_file(models + "/llama_gqa/inputs.safetensors")
cases = {"gkd": dict(teachers=["llama_tied"], alpha=1.0), "ensemble": dict(teachers=["llama_tied", "qwen2"], alpha=0.75)}


def load(name):
    return AutoModelForCausalLM.from_pretrained(f"models/{name}", dtype=torch.float32, attn_implementation="eager").eval()


for name, case in cases.items():
    torch.manual_seed(11)
    model = get_peft_model(load("llama_gqa"), LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", target_modules=["q_proj", "up_proj", "lm_head"])).eval()
    perturb(model, 12, 0.02)
    d = f"{out}/{name}"
    model.save_pretrained(d + "/adapter", save_embedding_layers=False)
    os.remove(d + "/adapter/README.md")
    teachers = [load(x) for x in case["teachers"]]
    o = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3, weight_decay=0.01)
    s = get_cosine_schedule_with_warmup(o, 3, 10)
    rec = dict(losses=[], divergences=[], lrs=[], grad_norms=[])
    for i in range(10):
        batch = {k: t["train_" + k][i] for k in ("input_ids", "attention_mask", "labels")}
        with torch.no_grad():
            p = sum(x(batch["input_ids"], attention_mask=batch["attention_mask"]).logits.softmax(-1) for x in teachers)[:, :-1] / len(teachers)
        r = model(**batch)
        labels = batch["labels"][:, 1:]
        kl = GKDTrainer.generalized_jsd_loss(r.logits[:, :-1], p.log(), labels=labels, beta=0)
        entropy = -(p * p.log()).sum(-1)[labels != -100].mean()
        loss = case["alpha"] * kl + (1 - case["alpha"]) * r.loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([q for q in model.parameters() if q.requires_grad], 1.0)
        rec["losses"].append(float((loss + case["alpha"] * entropy).detach()))
        rec["divergences"].append(float(kl.detach()))
        rec["lrs"].append(o.param_groups[0]["lr"])
        rec["grad_norms"].append(float(norm))
        o.step()
        s.step()
        o.zero_grad()
    save_tensors(d + "/expected.safetensors", {"final." + short(n): p.detach() for n, p in model.named_parameters() if p.requires_grad})
    save_json(d + "/meta.json", jsonable(dict(case=name, model="models/llama_gqa", loss="trl.trainer.gkd_trainer.GKDTrainer.generalized_jsd_loss", **case, lr=5e-3, weight_decay=0.01,
              warmup_steps=3, max_steps=10, max_grad_norm=1.0, trajectory=rec)))
    print(name, rec["losses"], rec["divergences"][-1])
