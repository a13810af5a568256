"""Stacks of bottleneck adapters by AdapterHub's library: stack.py MODELS OUT.

MODELS is a folder with the models that the cases name, OUT gets CASE/NAME (the adapters' folders) and CASE/expected.safetensors: input_ids [1, T], the logits of
the stack, of the stack in the other order, and of the base alone, [1, T, V]. CASE/meta.json has the model and the adapters in their order."""
import json
import os
import sys

import adapters
import torch
from adapters.composition import Stack
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

models, out = sys.argv[1:3]
cases = {
    "llama_gqa_seq_double": ("llama_gqa", [adapters.SeqBnConfig(reduction_factor=16), adapters.DoubleSeqBnConfig(reduction_factor=16)]),
    "gpt2_compacter_seq": ("gpt2", [adapters.CompacterConfig(reduction_factor=8), adapters.SeqBnConfig(reduction_factor=16, non_linearity="gelu")]),
    "gpt2_three": ("gpt2", [adapters.DoubleSeqBnConfig(reduction_factor=32), adapters.SeqBnConfig(reduction_factor=32, scaling="learned"),
                            adapters.DoubleSeqBnConfig(reduction_factor=32, leave_out=[0])]),
}
torch.set_num_threads(1)
for case, (name, configs) in cases.items():
    torch.manual_seed(11)
    model = AutoModelForCausalLM.from_pretrained(os.path.join(models, name), dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.arange(14)[None] * 37 % 250 + 3
    values = {"input_ids": ids, "base": model(input_ids=ids).logits}
    adapters.init(model)
    names = ["first", "second", "third"][:len(configs)]
    for n, c in zip(names, configs):
        model.add_adapter(n, config=c)
    for k, p in model.named_parameters():
        if "adapters." in k or "shared_parameters" in k:
            p.data += 0.1 * torch.randn_like(p)
    model.eval()
    with torch.no_grad():
        for key, order in (("logits", names), ("reversed", names[::-1])):
            model.set_active_adapters(Stack(*order))
            values[key] = model(input_ids=ids).logits
    folder = os.path.join(out, case)
    os.makedirs(folder, exist_ok=True)
    for n in names:
        model.save_adapter(os.path.join(folder, n), n, use_safetensors=True, with_head=False)
        path = os.path.join(folder, n, "adapter_config.json")
        about = json.load(open(path))
        about["model_name"] = "models/" + name
        json.dump(about, open(path, "w"), indent=2, sort_keys=True)
    save_file({k: v.detach().contiguous() for k, v in values.items()}, os.path.join(folder, "expected.safetensors"))
    json.dump({"model": name, "adapters": names}, open(os.path.join(folder, "meta.json"), "w"))
    print(case, *(float((values[k] - values["base"]).detach().abs().max()) for k in ("logits", "reversed")), float((values["logits"] - values["reversed"]).abs().max()))
