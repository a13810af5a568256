#!/usr/bin/env python3
"""Makes classes.json.gz: which characters Hugging Face tokenizers counts as letters, word characters, punctuation and so on, asked of the library itself, one
character at a time, as its parts follow different versions of Unicode.

    make.py            (needs tokenizers; the file in the tree is by 0.22.2)

Ranges are [first, last] pairs, flat, each number less the one before it. `lower` lists what is not Go's lower case; `NFC` to `NFKD` list the characters the form changes.
"""
import gzip
import json
import os

from tokenizers import Regex, normalizers as N, pre_tokenizers as P

CPS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def ranges(pred):
    out, flat, at = [], [], 0
    for c in CPS:
        if pred(chr(c)):
            if out and out[-1][1] == c - 1:
                out[-1][1] = c
            else:
                out.append([c, c])
    for pair in out:
        for x in pair:
            flat.append(x - at)
            at = x
    return flat


def split(re):
    p = P.Split(Regex(re), "removed")
    return lambda ch: not p.pre_tokenize_str(ch)


def three(p):
    return lambda ch: len(p.pre_tokenize_str("\x01" + ch + "\x01")) == 3


def bert(**kw):
    return N.BertNormalizer(**dict(dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False), **kw))


d = {n: ranges(split(r"\p{%s}" % n)) for n in ("L", "N", "M", "P", "S", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
                                                "Sm", "Sc", "Sk", "So", "Han", "Alphabetic")}
for n, re in dict(word=r"\w", alpha="[[:alpha:]]", alnum="[[:alnum:]]", upper="[[:upper:]]", lower="[[:lower:]]", punct="[[:punct:]]", cntrl="[[:cntrl:]]",
                  graph="[[:graph:]]", print="[[:print:]]").items():
    d["onig_" + n] = ranges(split(re))
d["numeric"] = ranges(three(P.Digits(individual_digits=True)))
d["punctuation"] = ranges(three(P.Punctuation()))
d["rust_word"] = ranges(lambda ch: len(P.Whitespace().pre_tokenize_str("a" + ch + "b")) == 1)
d["control"] = ranges(lambda ch: bert(clean_text=True).normalize_str(ch) == "")
d["nonspacing"] = ranges(lambda ch: bert(strip_accents=True).normalize_str(ch) == "")
d["combining"] = ranges(lambda ch: N.StripAccents().normalize_str(ch) == "")
for n, f in dict(NFC=N.NFC(), NFD=N.NFD(), NFKC=N.NFKC(), NFKD=N.NFKD()).items():
    d[n] = ranges(lambda ch: f.normalize_str(ch) != ch)
d["lower"] = {ch: N.Lowercase().normalize_str(ch) for ch in map(chr, CPS) if N.Lowercase().normalize_str(ch) != ch}
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "classes.json.gz"), "wb") as f:
    f.write(gzip.compress(json.dumps(d, ensure_ascii=False, separators=(",", ":")).encode(), mtime=0))
