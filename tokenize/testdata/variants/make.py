#!/usr/bin/env python3
"""Makes variants.json.gz: parts of a tokenizer.json put in place of those of ../tokenizer, and what Hugging Face tokenizers gives for some texts.

    make.py            (needs tokenizers; the file in the tree is by 0.22.2)
"""
import gzip
import json
import os

from tokenizers import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = json.load(open(os.path.join(HERE, "..", "tokenizer", "tokenizer.json"), encoding="utf-8"))
TEXTS = ["", " ", "a", "Hello world", "  two  spaces  ", "a<x>b", "a <x> b", "a  <x>  b", "<x>", " <x> ", "<x><x>", "x<x>_<x> <x>é<x>1", "<X> <x>", "<s>a</s> <x>",
         "tab\t<x>\nnew\n\n<x>\u00a0end", "It's 12345 o'clock, DON'T", "naïve café e\u0301 ﬁ ½ Å \u212b", "日本語テキスト 한국어 русский", "a-b--c...d!?", "x\u200dy\u200b z\u0000w\ufeff",
         "👍🏽 👩‍👩‍👧", "Ünïcödé ŁÓDŹ ß İ ı Σς", "中文abc中文", "a\r\nb\rc", "1,234.56 ١٢٣ Ⅷ ²", "\u3000wide\u3000", "under_score __init__"]


def tok(content, **flags):
    return dict(dict(id=len(BASE["model"]["vocab"]), content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=False), **flags)


def added(**flags):
    return {"added_tokens": BASE["added_tokens"] + [tok("<x>", **flags)]}


def pre(*steps):
    steps = list(steps) + [dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)]
    return {"pre_tokenizer": dict(type="Sequence", pretokenizers=steps)}


def split(pattern, behavior, invert=False, kind="Regex"):
    return pre(dict(type="Split", pattern={kind: pattern}, behavior=behavior, invert=invert))


LOWER = {"normalizer": {"type": "Lowercase"}}
V = {
    "plain": {},
    "added": added(), "lstrip": added(lstrip=True), "rstrip": added(rstrip=True), "both": added(lstrip=True, rstrip=True),
    "single_word": added(single_word=True), "single_word_strip": added(single_word=True, lstrip=True, rstrip=True), "special": added(special=True),
    "normalized_lower": dict(added(normalized=True), **LOWER), "raw_lower": dict(added(), **LOWER),
    "prefix": {"pre_tokenizer": dict(type="ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True)},
    "digits": pre(dict(type="Digits", individual_digits=False)), "digits_single": pre(dict(type="Digits", individual_digits=True)),
    "whitespace_split": pre(dict(type="WhitespaceSplit")), "whitespace": pre(dict(type="Whitespace")), "bert_pre": pre(dict(type="BertPreTokenizer")),
    "trim": {"post_processor": dict(type="ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True)},
    "trim_no_prefix": {"post_processor": dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)},
}
for b in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
    V["split_" + b] = split(r"\s+|\d", b)
    V["split_inverted_" + b] = split(r"\w+", b, invert=True)
    V["split_string_" + b] = split("x", b, kind="String")
    V["punctuation_" + b] = pre(dict(type="Punctuation", behavior=b))
V["split_lookahead"] = split(r"\p{Lu}?\p{Ll}+(?=\d|\s|$)|[^\s\p{L}]+|\s+(?!\S)", "Isolated")
for n in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt"):
    V[n] = {"normalizer": {"type": n}}
V["nfd_strip_accents"] = {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]}}
for l, r in ((True, True), (True, False), (False, True)):
    V["strip_%d%d" % (l, r)] = {"normalizer": {"type": "Strip", "strip_left": l, "strip_right": r}}
for clean, zh, acc, low in ((True, True, None, True), (False, False, None, True), (True, True, True, False), (True, False, False, True), (True, True, None, False)):
    V["bert_norm_%s" % "_".join(str(x) for x in (clean, zh, acc, low))] = {
        "normalizer": {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": zh, "strip_accents": acc, "lowercase": low}}

out = []
for name, patch in V.items():
    t = Tokenizer.from_str(json.dumps(dict(BASE, **patch)))
    cases = []
    for text in TEXTS:
        e = t.encode(text, add_special_tokens=True)
        cases.append(dict(text=text, ids=e.ids, offsets=e.offsets))
    out.append(dict(name=name, patch=patch, cases=cases))
with open(os.path.join(HERE, "variants.json.gz"), "wb") as f:
    f.write(gzip.compress(json.dumps(out, ensure_ascii=False).encode(), mtime=0))
print(len(out), "variants of", len(TEXTS), "texts")
