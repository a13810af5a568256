"""LoRA on a model whose head shares the embedding's weight, in the form of golden/peft, by HF PEFT: tied.py GEN MODELS OUT.

GEN is the folder of the golden data's generators (peft_cases.py), MODELS a folder with the model llama_tied, OUT gets llama_tied/CASE.

With ensure_weight_tying and the embedding as a target PEFT 0.21.2 makes the head's A and B parameters of their own over the embedding's memory, so that an
optimiser moves the shared values twice a step. Here they are trained as the one parameter that they are: the head's gradients are added to the
embedding's, transposed, and the optimiser has the embedding's alone."""
import os
import sys
import types

gen, models, out = (os.path.abspath(p) for p in sys.argv[1:4])
sys.path.insert(0, gen)
import torch
from safetensors.torch import load_file
import peft_cases
from peft import LoraConfig

work = out + ".work"
os.makedirs(work, exist_ok=True)
if not os.path.exists(work + "/models"):
    os.symlink(models, work + "/models")
os.chdir(work)
t = load_file("models/llama_tied/inputs.safetensors")
plain, evaluate, get_peft_model = peft_cases.trajectory, peft_cases.evaluate, peft_cases.get_peft_model
HEAD, EMBED = "base_model.model.lm_head.lora_", "base_model.model.model.embed_tokens.lora_embedding_"


def build(base, cfg):
    model = get_peft_model(base, cfg)
    for m in model.modules():  # views of parameters, which keep PEFT's own model from being copied
        if isinstance(getattr(m, "kwargs", None), dict):
            m.kwargs.pop("tied_adapter", None)
    return model


def pairs(model):
    p = dict(model.named_parameters())
    return [(p[EMBED + a + ".default"], p[HEAD + b + ".default.weight"]) for a, b in (("A", "B"), ("B", "A")) if HEAD + b + ".default.weight" in p]


def once(model, t, opt):
    logits, loss, grads = evaluate(model, t, opt)
    for a, b in (("A", "B"), ("B", "A")):
        if HEAD + b + ".weight" in grads:
            grads[EMBED + a] += grads.pop(HEAD + b + ".weight").t()
    return logits, loss, grads


def trajectory(model, t, opt, spec):
    shared = pairs(model)
    for e, h in shared:  # which a deep copy takes apart
        h.data = e.data.t()
        h.requires_grad_(False)

        class Tied(torch.nn.Module):
            def __init__(self, p):
                super().__init__()
                self.__dict__["p"] = p

            def forward(self, x):
                return torch.nn.functional.linear(x, self.p.t())

            @property
            def weight(self):
                return self.p.t()
    if shared:
        head = model.base_model.model.lm_head
        (a, _), (b, _) = shared
        head.lora_A["default"], head.lora_B["default"] = Tied(b), Tied(a)
    return plain(model, t, opt, spec)


peft_cases.evaluate, peft_cases.trajectory, peft_cases.get_peft_model = once, trajectory, build
a = types.SimpleNamespace(P=peft_cases.PROFILES["shared"], profile="shared")
cases = {
    "lora_weight_tying": dict(target_modules=["embed_tokens", "v_proj"], ensure_weight_tying=True),
    "lora_weight_tying_pattern": dict(target_modules=r"(.*\.)?(lm_head|q_proj)", ensure_weight_tying=True, use_rslora=True),
    "lora_weight_tying_save": dict(target_modules=["v_proj"], modules_to_save=["lm_head"], ensure_weight_tying=True),
    "lora_untied_save": dict(target_modules=["v_proj"], modules_to_save=["embed_tokens"]),
}
for name, fields in cases.items():
    cfg = LoraConfig(**{**dict(r=4, lora_alpha=8, task_type="CAUSAL_LM"), **fields})
    m = peft_cases.run_case(a, dict(name=name, model="llama_tied", cfg=cfg), t)
    d = f"{work}/peft/llama_tied/{name}"
    peft_cases.scrub_json_file(d + "/adapter/adapter_config.json", work)
    to = f"{out}/llama_tied/{name}"
    os.makedirs(os.path.dirname(to), exist_ok=True)
    os.system(f"rm -rf {to}; cp -r {d} {to}")
    print(name, m["loss"], m["trajectory"]["losses"][-1], m["trainable_params"], m["merge"], len(load_file(to + "/expected.safetensors")))
