#!/usr/bin/env python3
"""How far LLM.int8's training trajectory moves when the reference itself rounds a little otherwise: the noise floor of the case qlora/int8.

    int8_noise.py GOLDEN [--case qlora/int8] [--seeds 32] [--relative 3e-7] > noise.json

GOLDEN holds models/llama_gqa and the case. The case's ten steps are repeated from its adapter by the real libraries (transformers, PEFT, bitsandbytes), with
the outputs of the normalisations changed at random by up to a few units in the last place of float32, less than two genuine torch runs differ by (the
table of tolerances of the golden data has 4.5e-6 for hidden states). Activations are rounded to float16 and then to 8-bit codes, so that a difference in the
last bits of a float32 now and then moves a code, or the scale of a row, and the optimiser carries that on. Printed: each run's largest differences from the
case, and over all runs those of the losses, of the gradient norms and of the final values.
"""
import argparse
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"


def run(golden, case, relative, seed):
    import torch
    from peft import PeftModel, prepare_model_for_kbit_training
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, get_cosine_schedule_with_warmup

    torch.set_num_threads(1)
    noise = torch.Generator().manual_seed(seed)
    meta = json.load(open(f"{golden}/{case}/meta.json"))
    spec = meta["optimiser"]
    t = load_file(f"{golden}/{meta['model']}/inputs.safetensors")
    m = AutoModelForCausalLM.from_pretrained(f"{golden}/{meta['model']}", quantization_config=BitsAndBytesConfig(load_in_8bit=True), device_map="cpu",
                                             dtype=torch.float32, attn_implementation="eager")
    for module in m.modules():
        if type(module).__name__ == "LlamaRMSNorm":
            module.register_forward_hook(lambda _, __, y: y * (1 + relative * (2 * torch.rand(y.shape, generator=noise) - 1)))
    m = prepare_model_for_kbit_training(m, use_gradient_checkpointing=False)
    m = PeftModel.from_pretrained(m, f"{golden}/{case}/adapter", is_trainable=True).eval()
    params = [p for p in m.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=spec["lr"], betas=tuple(spec["betas"]), eps=spec["eps"], weight_decay=spec["weight_decay"], foreach=False)
    schedule = get_cosine_schedule_with_warmup(opt, spec["num_warmup_steps"], spec["num_training_steps"])
    losses, norms = [], []
    for i in range(spec["steps"]):
        loss = m(input_ids=t["train_input_ids"][i], attention_mask=t["train_attention_mask"][i], labels=t["train_labels"][i]).loss
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(params, spec["grad_clip_norm"])))
        losses.append(float(loss.detach()))
        opt.step()
        schedule.step()
        opt.zero_grad()
    want = load_file(f"{golden}/{case}/expected.safetensors")
    final = max(float((p.detach() - want["final." + n.replace(".default", "")]).abs().max()) for n, p in m.named_parameters() if p.requires_grad)
    off = lambda got, of: max(abs(x - y) for x, y in zip(got, of))
    return dict(seed=seed, loss=off(losses, meta["trajectory"]["losses"]), grad_norm=off(norms, meta["trajectory"]["grad_norms"]), final=final)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("golden")
    ap.add_argument("--case", default="qlora/int8")
    ap.add_argument("--seeds", type=int, default=32)
    ap.add_argument("--relative", type=float, default=3e-7)
    a = ap.parse_args()
    runs = [run(a.golden, a.case, a.relative, seed) for seed in range(a.seeds)]
    json.dump(dict(case=a.case, relative=a.relative, runs=runs, **{k: max(r[k] for r in runs) for k in ("loss", "grad_norm", "final")}), sys.stdout, indent=1)
    print()


main()
