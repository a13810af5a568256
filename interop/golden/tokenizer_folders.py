#!/usr/bin/env python3
"""Writes what transformers' AutoTokenizer makes of model folders whose files beside tokenizer.json say something about the tokenizer: ids of texts with and without special
tokens, and as a document that is learnt (TRL's SFTTrainer appends eos_token to a text that does not end with it, and lets the tokenizer add its own), and the ids of
the special tokens.

    tokenizer_folders.py tokenize/testdata/tokenizer/tokenizer.json tokenize/testdata/folders.json
"""
import json
import os
import sys
import tempfile

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

base, out = sys.argv[1:]
TEXT = ["the cat sat on the mat, the rat ran: hello hello world worlds toolkit tools " * 3, "a bee sees the sea <tool> <|tool|> [PAD] </s> <s>"]


def trained(model, pre, special, normalizer=None, post=None, **kw):
    t = Tokenizer(model)
    t.pre_tokenizer = pre
    if normalizer:
        t.normalizer = normalizer
    kind = {"BPE": trainers.BpeTrainer, "WordPiece": trainers.WordPieceTrainer, "Unigram": trainers.UnigramTrainer}[type(model).__name__]
    t.train_from_iterator(TEXT, kind(vocab_size=90, special_tokens=special, show_progress=False, **kw))
    if post:
        t.post_processor = post(t)
    return json.loads(t.to_str())


def bert_post(t):
    return processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[(x, t.token_to_id(x)) for x in ("[CLS]", "[SEP]")])


def eos_post(t):
    return processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", t.token_to_id("</s>"))])


bases = {
    "bytes": json.load(open(base)),
    "llama": trained(models.BPE(unk_token="<unk>", fuse_unk=True), pre_tokenizers.Metaspace(), ["<unk>", "<s>", "</s>"]),
    "bert": trained(models.WordPiece(unk_token="[UNK]"), pre_tokenizers.BertPreTokenizer(), ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
                    normalizers.BertNormalizer(), bert_post),
    "prefixed": trained(models.BPE(), pre_tokenizers.ByteLevel(add_prefix_space=True), ["<unk>", "<s>", "</s>"]),
    "sequence": trained(models.BPE(), pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=True)]), ["<unk>", "<s>", "</s>"]),
    "t5": trained(models.Unigram(), pre_tokenizers.Metaspace(), ["<pad>", "</s>", "<unk>"], post=eos_post, unk_token="<unk>"),
}
for t in bases.values():
    t["truncation"] = t["padding"] = None
n = {k: max([i for i in (t["model"]["vocab"].values() if isinstance(t["model"]["vocab"], dict) else range(len(t["model"]["vocab"])))]
            + [a["id"] for a in t["added_tokens"]]) + 1 for k, t in bases.items()}
tool = dict(content="<|tool|>", lstrip=False, rstrip=False, normalized=False, single_word=False, special=True)
F = {"tokenizer_class": "PreTrainedTokenizerFast"}
N = n["bytes"]
first = dict(bases["bytes"]["added_tokens"][2])
EOS = first["content"]
WORD = min(w for w in bases["bytes"]["model"]["vocab"] if len(w) == 2 and w.isalpha() and w.isascii())
ID = str(first.pop("id"))


def config(**kw):
    return {"tokenizer_config.json": kw}


def fast(**kw):
    return config(**F, **kw)


def more(files, **others):
    return {**files, **{k + ".json": v for k, v in others.items()}}


cases = [
    # tokens that tokenizer.json lacks
    ("bytes", "added_tokens_decoder", fast(added_tokens_decoder={str(N): tool})),
    ("bytes", "decoder with lstrip", fast(added_tokens_decoder={str(N): {**tool, "lstrip": True}})),
    ("bytes", "decoder with rstrip", fast(added_tokens_decoder={str(N): {**tool, "rstrip": True}})),
    ("bytes", "decoder with single_word", fast(added_tokens_decoder={str(N): {**tool, "content": "tool", "single_word": True, "special": False}})),
    ("bytes", "decoder not special", fast(added_tokens_decoder={str(N): {**tool, "special": False, "normalized": True}})),
    ("bytes", "decoder of two, in another order", fast(added_tokens_decoder={str(N + 1): tool, str(N): {**tool, "content": "<tool>"}})),
    ("bytes", "decoder changes how a token of tokenizer.json is looked for", fast(added_tokens_decoder={ID: {**first, "lstrip": True}})),
    ("bytes", "decoder makes a word of the vocabulary a token", fast(added_tokens_decoder={str(bases["bytes"]["model"]["vocab"][WORD]): {**tool, "content": WORD}})),
    ("bytes", "added_tokens.json", more(fast(), added_tokens={"<|tool|>": N})),
    ("bytes", "added_tokens.json, special", more(fast(additional_special_tokens=["<|tool|>"]), added_tokens={"<|tool|>": N, "<tool>": N + 1})),
    ("bytes", "added_tokens.json beside a decoder", more(fast(added_tokens_decoder={str(N): tool}), added_tokens={"<|tool|>": N, "<tool>": N + 1})),
    ("bytes", "additional_special_tokens", fast(additional_special_tokens=["<|tool|>", "<tool>"])),
    ("bytes", "additional_special_tokens as objects", fast(additional_special_tokens=[{"__type": "AddedToken", **{**tool, "lstrip": True}}])),
    ("bytes", "extra_special_tokens", fast(extra_special_tokens={"tool_token": "<|tool|>", "a_token": "<tool>"})),
    ("bytes", "special_tokens_map.json", more(fast(), special_tokens_map={"additional_special_tokens": ["<|tool|>"], "eos_token": EOS})),
    ("bytes", "special_tokens_map.json beside a decoder", more(fast(added_tokens_decoder={}), special_tokens_map={"additional_special_tokens": ["<|tool|>"], "eos_token": EOS})),
    ("bytes", "special_tokens_map.json goes before", more(fast(eos_token=WORD), special_tokens_map={"eos_token": EOS})),
    ("bytes", "special_tokens_map.json goes not before a decoder", more(fast(eos_token=WORD, added_tokens_decoder={}), special_tokens_map={"eos_token": EOS})),
    ("bytes", "eos_token is declared", fast(eos_token="<|tool|>", added_tokens_decoder={str(N): tool})),
    ("bytes", "eos_token as an object, looked for as it says", fast(eos_token={"__type": "AddedToken", **first, "rstrip": True}, added_tokens_decoder={})),
    ("bytes", "eos_token as an object, without a decoder", fast(eos_token={"__type": "AddedToken", **first, "rstrip": True})),
    ("bytes", "pad, sep, cls and mask are new", fast(pad_token="[PAD]", sep_token="<tool>", mask_token="<|tool|>", cls_token="[CLS]")),
    ("bytes", "unk is new", fast(unk_token="[UNK]", pad_token="[PAD]")),
    ("bytes", "pad_token is declared", more(fast(pad_token="[PAD]"), added_tokens={"[PAD]": N})),
    # what stands around a text
    ("bytes", "null is not a token", more(fast(bos_token=None, eos_token=EOS), config={"model_type": "llama", "bos_token_id": 1, "eos_token_id": 0})),
    ("bytes", "GPT2 tokens", config(tokenizer_class="GPT2Tokenizer", bos_token=EOS, eos_token=EOS, unk_token=EOS)),
    ("bytes", "GPT2 with add_bos_token", config(tokenizer_class="GPT2Tokenizer", add_bos_token=True, bos_token=EOS, eos_token=EOS, unk_token=EOS)),
    ("bytes", "fast class with add_bos_token", fast(add_bos_token=True, bos_token=EOS, eos_token=EOS)),
    ("bytes", "GPTNeoX", config(tokenizer_class="GPTNeoXTokenizer", bos_token=EOS, eos_token=EOS, unk_token=EOS)),
    ("bytes", "GPTNeoX with add_bos_token", config(tokenizer_class="GPTNeoXTokenizerFast", add_bos_token=True, bos_token=EOS, eos_token=EOS, unk_token=EOS)),
    ("bytes", "Llama of another vocabulary", config(tokenizer_class="LlamaTokenizerFast", bos_token=EOS, eos_token=EOS, unk_token=EOS)),
    ("bytes", "Qwen2", config(tokenizer_class="Qwen2Tokenizer", bos_token=None, eos_token=EOS, unk_token=EOS, pad_token=EOS)),
    ("llama", "Llama's own tokens", config(tokenizer_class="LlamaTokenizer")),
    ("llama", "Llama by model_type", {"config.json": {"model_type": "llama"}}),
    ("llama", "Llama by model_type, unnamed", {"tokenizer_config.json": {}, "config.json": {"model_type": "mistral"}}),
    ("llama", "Llama by config.json's tokenizer_class", {"config.json": {"model_type": "gpt2", "tokenizer_class": "LlamaTokenizer"}}),
    ("llama", "Llama without bos", config(tokenizer_class="LlamaTokenizer", add_bos_token=False)),
    ("llama", "Llama with eos", config(tokenizer_class="LlamaTokenizer", add_eos_token=True)),
    ("llama", "Llama with eos, without bos", config(tokenizer_class="LlamaTokenizerFast", add_eos_token=True, add_bos_token=False)),
    ("llama", "Llama's tokenizer in the plain class", fast(bos_token="<s>", eos_token="</s>", unk_token="<unk>", add_bos_token=True, add_eos_token=True)),
    ("llama", "CodeLlama", config(tokenizer_class="CodeLlamaTokenizer", prefix_token=None, middle_token=None, suffix_token=None, eot_token=None)),
    ("llama", "Gemma", config(tokenizer_class="GemmaTokenizer", bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>")),
    ("llama", "Cohere with eos", config(tokenizer_class="CohereTokenizer", bos_token="<s>", eos_token="</s>", unk_token="<unk>", add_eos_token=True)),
    ("llama", "Llama, padding new", config(tokenizer_class="LlamaTokenizer", pad_token="[PAD]")),
    ("bert", "BERT", config(tokenizer_class="BertTokenizer")),
    ("bert", "BERT by model_type", {"config.json": {"model_type": "bert"}}),
    ("bert", "Albert's class, eos is [SEP]", config(tokenizer_class="PreTrainedTokenizerFast", eos_token="[SEP]", bos_token="[CLS]")),
    ("t5", "T5", config(tokenizer_class="T5Tokenizer", extra_ids=0, additional_special_tokens=[])),
    # the pre-tokenizer
    ("bytes", "add_prefix_space", fast(add_prefix_space=True)),
    ("bytes", "add_prefix_space is false", fast(add_prefix_space=False)),
    ("prefixed", "no add_prefix_space in the plain class", fast()),
    ("prefixed", "add_prefix_space is true in both", fast(add_prefix_space=True)),
    ("prefixed", "add_prefix_space is null", fast(add_prefix_space=None)),
    ("prefixed", "no add_prefix_space in GPT2", config(tokenizer_class="GPT2Tokenizer", bos_token="</s>", eos_token="</s>", unk_token="<unk>")),
    ("prefixed", "no add_prefix_space by model_type", {"config.json": {"model_type": "gpt_neox"}, "tokenizer_config.json": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}}),
    ("prefixed", "Llama keeps what the file has", config(tokenizer_class="LlamaTokenizerFast", bos_token="<s>", eos_token="</s>", unk_token="<unk>")),
    ("sequence", "add_prefix_space of a sequence stays", fast(add_prefix_space=False)),
    ("t5", "ends by itself", fast(eos_token="</s>")),
]
texts = [f"x{WORD}x {WORD}", "a<|tool|>b", "a <|tool|> b", " the <tool> toolkit tool.", f"he {EOS} hello", "[PAD] [UNK] </s>", "the cat"]
rows = []
for kind, name, files in cases:
    with tempfile.TemporaryDirectory() as d:
        json.dump(bases[kind], open(os.path.join(d, "tokenizer.json"), "w"))
        for f, v in files.items():
            json.dump(v, open(os.path.join(d, f), "w"))
        t = AutoTokenizer.from_pretrained(d)
        ids = lambda x, special: t(x, add_special_tokens=special, truncation=False)["input_ids"]
        document = lambda x: x if t.eos_token is None or x.endswith(t.eos_token) else x + t.eos_token
        row = {"name": name, "base": kind, "files": files, "bos": t.bos_token_id, "eos": t.eos_token_id, "pad": t.pad_token_id, "class": type(t).__name__,
               "texts": [{"text": x, "ids": ids(x, False), "ids_special": ids(x, True), "document": ids(document(x), True), "skipped": t.decode(ids(x, True), skip_special_tokens=True, clean_up_tokenization_spaces=False)}
                         for x in texts]}
        rows.append(row)
        print(f"{name}: {row['class']}, bos {row['bos']}, eos {row['eos']}, {row['texts'][2]['ids_special']}")
with open(out, "w") as f:
    f.write('{"transformers": "4.57.6",\n"bases": ' + json.dumps({k: v for k, v in bases.items() if k != "bytes"}, ensure_ascii=False) + ',\n"cases": [\n')
    f.write(",\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n]}\n")
