"""The real SmolLM2-135M-Instruct, Q4_1: adaptflow's logits, greedy text and chat of the GGUF file against transformers' reading of the same file.
usage: python gguf_transformers.py ADAPTFLOW WORKDIR FILE.gguf FOLDER
The interpreter has torch, transformers and gguf. FOLDER is the tokenizer's, made by smollm2.py of that file."""
import json
import os
import subprocess
import sys

import torch
from safetensors.torch import load_file, save_file
from smollm2_check import CHATS, NEW_TOKENS, PROMPTS, messages, plain, write
from transformers import AutoModelForCausalLM, AutoTokenizer

binary, work, file, folder = sys.argv[1:]
os.makedirs(work, exist_ok=True)
peer = AutoModelForCausalLM.from_pretrained(os.path.dirname(file), gguf_file=os.path.basename(file), dtype=torch.float32, attn_implementation="eager").eval()
tokenizer = AutoTokenizer.from_pretrained(folder)


def adaptflow(*args):
    p = subprocess.run([binary, *args], capture_output=True, text=True)
    if p.returncode:
        sys.exit(f"adaptflow {' '.join(args)}: {p.stderr}")


save_file({"input_ids": torch.randint(17, 49152, (2, 40), generator=torch.Generator().manual_seed(1))}, f"{work}/ids.safetensors")
ids = load_file(f"{work}/ids.safetensors")["input_ids"]
with torch.no_grad():
    want = peer(input_ids=ids).logits
adaptflow("logits", "--model", file, "--input", f"{work}/ids.safetensors", "--output", f"{work}/logits.safetensors")
difference = float((load_file(f"{work}/logits.safetensors")["logits"] - want).abs().max() / want.abs().max())
print(f"logits of the file: largest difference {difference:.1e} of the largest logit")
assert difference < 1e-4, difference

chats = [c[:-1] for c in CHATS]
rows = [{"prompt": p} for p in PROMPTS]
rows += [{"prompt": tokenizer.apply_chat_template(messages(c), tokenize=False, add_generation_prompt=True)} for c in chats]
write(f"{work}/prompts.jsonl", rows)
for dtype in ("float32", "float32+keep"):
    out = f"{work}/generated.jsonl"
    adaptflow("generate", "--model", file, "--prompts", f"{work}/prompts.jsonl", "--max-new-tokens", str(NEW_TOKENS), "--dtype", dtype, "--output", out)
    with open(out, encoding="utf-8") as f:
        answers = [json.loads(line)["text"] for line in f]
    for row, text in zip(rows, answers):
        x = tokenizer(row["prompt"], return_tensors="pt")
        with torch.no_grad():
            y = peer.generate(**x, max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=2, pad_token_id=2)[0]
        whole = plain(tokenizer.decode(y, skip_special_tokens=True))
        rest = plain(tokenizer.decode(y[x["input_ids"].shape[1]:], skip_special_tokens=True))
        assert plain(text) in (whole, rest), (dtype, text, whole)
    print(f"{dtype}: greedy text equal for {len(PROMPTS)} prompts and {len(chats)} chats")
