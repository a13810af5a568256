"""LoftQ and EVA cases in the form of golden/peft, by HF PEFT on the CPU: lora_init.py GEN MODELS OUT.

GEN is the folder of the golden data's generators (peft_cases.py), MODELS a folder with the model llama_gqa, OUT gets llama_gqa/CASE. PEFT's loftq_init
computes on a GPU by name; here the name is the CPU's."""
import importlib.util
import inspect
import os
import sys
import types

gen, models, out = (os.path.abspath(p) for p in sys.argv[1:4])
sys.path.insert(0, gen)
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: find("os") if name == "scipy" else find(name, *a)  # which PEFT asks for and does not use
import peft.utils.loftq_utils as loftq_utils
import peft.tuners.lora.layer as lora_layer
from safetensors.torch import load_file

exec(compile(inspect.getsource(loftq_utils.loftq_init).replace('else "cuda"', 'else "cpu"'), "loftq", "exec"), loftq_utils.__dict__)
lora_layer.loftq_init = loftq_utils.loftq_init
import peft_cases
from peft import EvaConfig, LoraConfig, get_peft_model
from peft.tuners.lora.eva import initialize_lora_eva_weights

work = out + ".work"
os.makedirs(work, exist_ok=True)
if not os.path.exists(work + "/models"):
    os.symlink(models, work + "/models")
os.chdir(work)
t = load_file("models/llama_gqa/inputs.safetensors")
steps = t["train_input_ids"].shape[0]
data = [{k: t["train_" + k][i] for k in ("input_ids", "attention_mask", "labels")} for i in range(steps)]


def build(base, cfg):
    model = get_peft_model(base, cfg)
    if cfg.init_lora_weights == "eva":
        initialize_lora_eva_weights(model, data, show_progress_bar=False)
    return model


peft_cases.get_peft_model = build
a = types.SimpleNamespace(P=peft_cases.PROFILES["shared"], profile="shared")
cases = {
    "lora_init_loftq": dict(init_lora_weights="loftq", loftq_config=dict(loftq_bits=4, loftq_iter=1)),
    "lora_init_loftq_iter": dict(init_lora_weights="loftq", loftq_config=dict(loftq_bits=4, loftq_iter=3)),
    "lora_init_eva": dict(init_lora_weights="eva", eva_config=EvaConfig(rho=2.0, tau=0.9), target_modules="all-linear"),
    "lora_init_eva_whiten": dict(init_lora_weights="eva", eva_config=EvaConfig(rho=1.5, tau=0.8, whiten=True, adjust_scaling_factors=False),
                                 target_modules=["q_proj", "v_proj", "down_proj"]),
}
for name, fields in cases.items():
    cfg = LoraConfig(**{**dict(r=4, lora_alpha=16, task_type="CAUSAL_LM", target_modules=["q_proj", "down_proj"]), **fields})
    m = peft_cases.run_case(a, dict(name=name, model="llama_gqa", cfg=cfg, keep_init=True, mutates_base="loftq" in name), t)
    d = f"{work}/peft/llama_gqa/{name}"
    peft_cases.scrub_json_file(d + "/adapter/adapter_config.json", work)
    to = f"{out}/llama_gqa/{name}"
    os.makedirs(os.path.dirname(to), exist_ok=True)
    os.system(f"rm -rf {to}; cp -r {d} {to}")
    print(name, m["loss"], m["trajectory"]["losses"][-1], m["trainable_params"])
