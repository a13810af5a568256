"""Makes the models of this folder with Hugging Face transformers: python make.py FOLDER [NAME...].

Each has a setting that the golden models leave at its default, random weights, and what transformers computes in float32 with
eager attention: logits and loss of a right padded batch, logits of its left padded second row, greedy tokens, and the gradients of
biases added to the linear modules.
"""
import json
import os
import sys

import torch
import transformers as tf
from safetensors.torch import save_file

torch.set_num_threads(1)
V, B, T = 48, 2, 14
BASE = dict(vocab_size=V, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=False)
MHA = {k: v for k, v in BASE.items() if k != "num_key_value_heads"}
OPT = dict(vocab_size=V, hidden_size=32, ffn_dim=40, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64, dropout=0.0,
           bos_token_id=1, eos_token_id=2, pad_token_id=0)
CASES = {
    "gemma": (tf.GemmaConfig, {**BASE, "tie_word_embeddings": True, "head_dim": 12}),
    "gemma3_pattern": (tf.Gemma3TextConfig, {**BASE, "tie_word_embeddings": True, "head_dim": 8, "num_hidden_layers": 7, "sliding_window": 3,
                                             "query_pre_attn_scalar": 11, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
    "gptneox_seq": (tf.GPTNeoXConfig, {**MHA, "use_parallel_residual": False, "rotary_pct": 0.5, "attention_bias": False}),
    "gptneox_tied": (tf.GPTNeoXConfig, {**MHA, "tie_word_embeddings": True}),
    "llama_linear": (tf.LlamaConfig, {**BASE, "head_dim": 12, "rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
    "mistral": (tf.MistralConfig, {**BASE, "sliding_window": 5}),
    "opt_post": (tf.OPTConfig, {**OPT, "do_layer_norm_before": False, "word_embed_proj_dim": 12}),
    "opt_plain": (tf.OPTConfig, {**OPT, "word_embed_proj_dim": 32, "enable_bias": False, "activation_function": "gelu"}),
    "phi_gqa": (tf.PhiConfig, {**BASE, "partial_rotary_factor": 0.5, "resid_pdrop": 0.0}),
    "phi3_partial": (tf.Phi3Config, {**BASE, "partial_rotary_factor": 0.75, "sliding_window": 5}),
    "phi3_long": (tf.Phi3Config, {**BASE, "partial_rotary_factor": 0.75, "max_position_embeddings": 64, "original_max_position_embeddings": 8,
                                  "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.25, 2.0], "long_factor": [1.5, 3.0, 9.0]}}),
    "phi3_short": (tf.Phi3Config, {**BASE, "max_position_embeddings": 128, "original_max_position_embeddings": 32,
                                   "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.1, 1.25, 2.0], "long_factor": [1.5, 3.0, 9.0, 20.0]}}),
    "qwen2_sliding": (tf.Qwen2Config, {**BASE, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    "qwen3_sliding": (tf.Qwen3Config, {**BASE, "head_dim": 12, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1,
                                       "attention_bias": True}),
    # long contexts
    "qwen2_yarn": (tf.Qwen2Config, {**BASE, "num_attention_heads": 2, "num_key_value_heads": 1, "use_sliding_window": False, "rope_theta": 1000.0,
                                    "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}}),
    "llama_yarn": (tf.LlamaConfig, {**BASE, "head_dim": 24, "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32,
                                                                             "beta_fast": 4.0, "beta_slow": 0.5, "mscale": 0.707, "mscale_all_dim": 1.2,
                                                                             "truncate": False}}),
    "mistral_yarn": (tf.MistralConfig, {**BASE, "head_dim": 16, "sliding_window": None, "rope_scaling": {"rope_type": "yarn", "factor": 2.0, "attention_factor": 1.3,
                                                                                                         "mscale": 0.5, "mscale_all_dim": 0.9}}),
    "phi_yarn": (tf.PhiConfig, {**BASE, "num_attention_heads": 2, "partial_rotary_factor": 0.5, "resid_pdrop": 0.0,
                                "rope_scaling": {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 8}}),
    "gptneox_yarn": (tf.GPTNeoXConfig, {**MHA, "num_attention_heads": 2, "rotary_pct": 0.5, "rope_scaling": {"rope_type": "yarn", "factor": 3.0}}),
    "llama_dynamic": (tf.LlamaConfig, {**BASE, "max_position_embeddings": 8, "head_dim": 12, "rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}),
    "qwen2_dynamic": (tf.Qwen2Config, {**BASE, "max_position_embeddings": 9, "rope_theta": 100000.0, "rope_scaling": {"type": "dynamic", "factor": 3.0}}),
    "gptneox_dynamic": (tf.GPTNeoXConfig, {**MHA, "max_position_embeddings": 8, "rotary_pct": 0.5, "rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}),
}
# made by name alone: the example of CONTRIBUTING.md, which lies in ../pasted
PASTED = {
    "seed_oss": (tf.SeedOssConfig, {**BASE, "head_dim": 12, "attention_out_bias": True}),
}


def again(m):
    """Forgets the length of the sequences so far, which a dynamic rotary embedding keeps."""
    for mod in m.modules():
        if hasattr(mod, "max_seq_len_cached"):
            mod.register_buffer("inv_freq", mod.original_inv_freq, persistent=False)
            mod.max_seq_len_cached = mod.original_max_seq_len


def shifts(m, **batch):
    """The gradients of the loss of a bias 0.01·(i mod 7) added to the output of every linear module but the head."""
    grads, hooks = {}, []
    for n, mod in m.named_modules():
        if isinstance(mod, torch.nn.Linear) and mod is not m.get_output_embeddings():
            p = (0.01 * (torch.arange(mod.out_features) % 7)).float().requires_grad_()
            grads[f"grad.{n}.shift"] = p
            hooks.append(mod.register_forward_hook(lambda _m, _i, y, p=p: y + p))
    with torch.enable_grad():
        loss = m(**batch).loss
        g = torch.autograd.grad(loss, list(grads.values()))
    for h in hooks:
        h.remove()
    return {"shifted_loss": loss.detach().reshape(1), **dict(zip(grads, g))}


def save(path, tensors):
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={"format": "pt"})


@torch.no_grad()
def make(root, seed, name, config, kw):
    d = os.path.join(root, name)
    os.makedirs(d, exist_ok=True)
    torch.manual_seed(seed)
    cfg = config(**kw)
    cfg._attn_implementation = "eager"
    m = tf.AutoModelForCausalLM.from_config(cfg).eval()
    for n, p in m.named_parameters():
        one = p.ndim == 1 and n.endswith("weight") and not cfg.model_type.startswith("gemma")
        p.copy_((1.0 if one else 0.0) + 0.25 * torch.randn(p.shape))
    m.save_pretrained(d)
    m = tf.AutoModelForCausalLM.from_pretrained(d, dtype=torch.float32, attn_implementation="eager").eval()

    ids, mask = torch.randint(3, V, (B, T)), torch.ones(B, T, dtype=torch.long)
    PAD = 0 if "dynamic" in name else 4  # transformers takes the length of a batch's longest row for all
    ids[1, T - PAD:], mask[1, T - PAD:] = 0, 0
    labels = ids.masked_fill(mask == 0, -100)
    left, lmask = ids.clone(), mask.clone()
    left[1], lmask[1] = ids[1].roll(PAD), mask[1].roll(PAD)
    llabels = left.masked_fill(lmask == 0, -100)
    kw = {} if cfg.model_type == "opt" else {"position_ids": (lmask.cumsum(-1) - 1).clamp(min=0)}
    o = m(input_ids=ids, attention_mask=mask, labels=labels)
    p = m(input_ids=left, attention_mask=lmask, labels=llabels, **kw)
    m.generation_config.eos_token_id = None
    prompt, best = None, None
    for k in range(9 if name == "phi3_long" else 3, 13):  # the prompt whose answer rounding is least likely to change
        again(m)
        g = m.generate(input_ids=ids[:1, :k], attention_mask=mask[:1, :k], max_new_tokens=12, do_sample=False, return_dict_in_generate=True,
                       output_logits=True)
        top = torch.stack(g.logits, 1).topk(2, -1).values
        gap = float((top[..., 0] - top[..., 1]).min())
        if best is None or gap > best[0]:
            prompt, best = ids[0, :k], (gap, g.sequences[0, k:])
    again(m)
    save(os.path.join(d, "inputs.safetensors"), dict(input_ids=ids, attention_mask=mask, labels=labels, leftpad_input_ids=left,
                                                     leftpad_attention_mask=lmask, leftpad_labels=llabels))
    save(os.path.join(d, "expected.safetensors"), dict(logits=o.logits, leftpad_logits=p.logits[1:2],
                                                       **shifts(m, input_ids=ids, attention_mask=mask, labels=labels)))
    with open(os.path.join(d, "meta.json"), "w") as f:
        json.dump(dict(loss=float(o.loss), leftpad_loss=float(p.loss), greedy_prompt=prompt.tolist(), greedy_tokens=best[1].tolist(),
                       greedy_min_top2_gap=best[0], transformers=tf.__version__, torch=torch.__version__), f, indent=1)
    if os.path.exists(os.path.join(d, "generation_config.json")):
        os.remove(os.path.join(d, "generation_config.json"))
    print(name, float(o.loss), best[0])


for i, (name, (config, kw)) in enumerate({**CASES, **PASTED}.items()):
    if name in sys.argv[2:] or len(sys.argv) == 2 and name in CASES:
        make(sys.argv[1], 100 + i, name, config, kw)
