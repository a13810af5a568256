"""Adapters that hold an embedding and a head, as HF PEFT saves them of a model whose vocabulary was resized: embeddings.py OUT.

OUT gets bases/BASE (tiny models of random weights), and CASE/adapter with CASE/expected.safetensors (input_ids, and the logits of the adapter as PEFT loads
it over the base, resized where the case says) and CASE/case.json. Made with torch 2.13.0, transformers 4.57.6, peft 0.21.2 on a CPU, float32."""
import json
import os
import shutil
import sys
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")
import torch
import peft
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

out = os.path.abspath(sys.argv[1])
os.makedirs(out + "/bases", exist_ok=True)
os.chdir(out + "/bases")
torch.set_num_threads(1)
V = 48


def llama(tied):
    return LlamaForCausalLM(LlamaConfig(vocab_size=V, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
                                        max_position_embeddings=32, tie_word_embeddings=tied, initializer_range=0.2))


BASES = {"llama": lambda: llama(False), "tied": lambda: llama(True),
         "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=V, n_embd=16, n_layer=1, n_head=2, n_positions=32, initializer_range=0.2))}
for i, (name, make) in enumerate(BASES.items()):
    torch.manual_seed(i)
    make().save_pretrained(name)


def lora(base, **kw):
    modules = {"gpt2": ["c_attn"]}.get(base, ["q_proj", "v_proj"])
    return peft.LoraConfig(**{**dict(r=2, lora_alpha=8, target_modules=modules + kw.pop("more", []), task_type="CAUSAL_LM"), **kw})


CASES = []


def case(name, base, cfg, size=V, change=None, then=None, **save):
    CASES.append((name, base, cfg, size, change, then, save))


EMB = {"llama": "embed_tokens", "tied": "embed_tokens", "gpt2": "wte"}
for b in BASES:
    e = EMB[b]
    case(b + "_saved", b, lora(b), save_embedding_layers=True)
    case(b + "_grown", b, lora(b), V + 5)
    case(b + "_shrunk", b, lora(b), V - 4)
    case(b + "_changed", b, lora(b), change="embeddings", save_embedding_layers=True)
    case(b + "_grown_modules_to_save", b, lora(b, modules_to_save=[e, "lm_head"]), V + 5)
    case(b + "_grown_embedding_to_save", b, lora(b, modules_to_save=[e]), V + 5)
    case(b + "_saved_head_to_save", b, lora(b, modules_to_save=["lm_head"]), save_embedding_layers=True)
    if b != "llama":  # whose head PEFT leaves out
        case(b + "_grown_target", b, lora(b, more=[e]), V + 5, save_embedding_layers=True)
    case(b + "_grown_tokens", b, lora(b, trainable_token_indices=[3, V + 1]), V + 5)
case("llama_grown_targets", "llama", lora("llama", more=["embed_tokens", "lm_head"]), V + 5)
case("llama_grown_only_modules_to_save", "llama", lora("llama", modules_to_save=["embed_tokens", "lm_head"]), V + 5, save_embedding_layers=False)
case("tied_grown_only_modules_to_save", "tied", lora("tied", modules_to_save=["embed_tokens"], ensure_weight_tying=True), V + 5, save_embedding_layers=False)
case("llama_grown_ia3", "llama", peft.IA3Config(task_type="CAUSAL_LM"), V + 5)
case("llama_grown_prompt", "llama", peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3), V + 5)
case("gpt2_grown_prompt", "gpt2", peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3), V + 5)
case("tied_grown_trainable_tokens", "tied", peft.TrainableTokensConfig(task_type="CAUSAL_LM", token_indices=[3, V + 1]), V + 5)
case("llama_grown_bfloat16", "llama", lora("llama"), V + 5, then="bfloat16")
case("llama_grown_sharded", "llama", lora("llama"), V + 5, then="shards")
case("llama_grown_state_dict", "llama", lora("llama"), V + 5, then="default")
case("llama_grown_compiled", "llama", lora("llama"), V + 5, then="compiled")
case("tied_grown_one_name", "tied", lora("tied"), V + 5, then="one name")


def sized(base, size):
    m = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    if size != V:
        torch.manual_seed(7)
        m.resize_token_embeddings(size, mean_resizing=False)
    return m


for n, (name, base, cfg, size, change, then, save) in enumerate(CASES):
    to = f"{out}/{name}"
    shutil.rmtree(to, ignore_errors=True)
    cfg.base_model_name_or_path = base
    m = sized(base, size)
    torch.manual_seed(100 + n)
    with torch.no_grad():
        if change or size != V:
            for w in {m.get_input_embeddings().weight, m.get_output_embeddings().weight}:
                w[0 if change else min(V, size) - 6:] += 0.1 * torch.randn_like(w[0 if change else min(V, size) - 6:])
    model = peft.get_peft_model(m, cfg)
    with torch.no_grad():
        for k, p in model.named_parameters():
            if p.requires_grad:
                p += 0.1 * torch.randn_like(p)
    model.save_pretrained(to + "/adapter", **save)
    os.remove(to + "/adapter/README.md")
    path = to + "/adapter/adapter_model.safetensors"
    t = load_file(path)
    ids = torch.tensor([[1, 3, size - 1, 7, 11], [size - 2, 2, 3, 5, size - 1]])

    def load():
        p = peft.PeftModel.from_pretrained(sized(base, size), to + "/adapter").eval()
        with torch.no_grad():
            return p(input_ids=ids).logits

    want = load()
    with torch.no_grad():
        was = model.eval()(input_ids=ids).logits
    if not (want - was).abs().max() < 1e-5:
        print(f"{name}: what PEFT loads is not what it saved: {(want - was).abs().max()}")
    if then == "bfloat16":
        save_file({k: v.bfloat16() for k, v in t.items()}, path, metadata={"format": "pt"})
        want = load()
    elif then == "shards":
        names = sorted(t)
        os.remove(path)
        for i, part in enumerate((names[:3], names[3:])):
            save_file({k: t[k] for k in part}, path.replace(".safetensors", f"-{i + 1:05}-of-00002.safetensors"), metadata={"format": "pt"})
    elif then == "default":
        save_file({k.replace("lora_A.weight", "lora_A.default.weight").replace("lora_B.weight", "lora_B.default.weight"): v for k, v in t.items()}, path,
                  metadata={"format": "pt"})
    elif then == "compiled":
        save_file({k.replace("base_model.model.", "_orig_mod.base_model.model.", 1): v for k, v in t.items()}, path, metadata={"format": "pt"})
    elif then == "one name":  # of tensors that share memory older versions of safetensors kept one
        t.pop("base_model.model.model.embed_tokens.weight")
        save_file(t, path, metadata={"format": "pt"})
    virtual = want.shape[1] - ids.shape[1]
    save_file({"input_ids": ids, "logits": want[:, virtual:].contiguous()}, to + "/expected.safetensors")
    json.dump({"base": base, "vocabulary": size}, open(to + "/case.json", "w"))
for d, _, files in os.walk(out):
    for f in files:
        if f == "generation_config.json":
            os.remove(f"{d}/{f}")
print(peft.__version__, transformers.__version__, torch.__version__)
