"""What transformers makes of logits by generation_config.json: generation_config.py OUT. OUT gets CASE/generation_config.json, as save_pretrained writes it,
and CASE/scores.safetensors (input_ids, of which the first three are the prompt, logits and processed scores). Made with transformers 4.57.6, torch 2.13.0."""
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

out, V = sys.argv[1], 64
CASES = {
    "greedy": dict(eos_token_id=[2, 5], repetition_penalty=1.3, no_repeat_ngram_size=2, min_new_tokens=9),
    "sampled": dict(do_sample=True, temperature=0.6, top_k=20, top_p=0.95, eos_token_id=[2, 5], repetition_penalty=1.05),
    "defaults": dict(do_sample=True, eos_token_id=2),
    "minimum": dict(do_sample=True, top_k=0, min_p=0.1, suppress_tokens=[7, 9], bad_words_ids=[[11], [4, 12]], eos_token_id=2),
    "typical": dict(do_sample=True, temperature=1.4, typical_p=0.8, epsilon_cutoff=0.001, eta_cutoff=0.002, eos_token_id=2),
    "likeliest": dict(do_sample=True, top_p=0.0, eos_token_id=2),
}
m = GPT2LMHeadModel(GPT2Config(vocab_size=V, n_embd=8, n_layer=1, n_head=1, n_positions=32))
for i, (name, fields) in enumerate(CASES.items()):
    torch.manual_seed(i)
    cfg = GenerationConfig(**fields)
    os.makedirs(f"{out}/{name}", exist_ok=True)
    cfg.save_pretrained(f"{out}/{name}")
    cfg = GenerationConfig.from_pretrained(f"{out}/{name}")
    m._prepare_special_tokens(cfg, True, device="cpu")
    ids = torch.tensor([[1, 8, 4, 13, 8, 4, 6, 4]])
    logits = 3 * torch.randn(1, V)
    p = m._get_logits_processor(generation_config=cfg, input_ids_seq_length=3, encoder_input_ids=ids, device="cpu", logits_processor=[])
    save_file({"input_ids": ids, "logits": logits, "scores": p(ids, logits.clone()).contiguous()}, f"{out}/{name}/scores.safetensors")
