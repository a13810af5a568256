"""Writes the data of the word splitter from an installed spaCy (MIT, Explosion AI): make.py FOLDER.

classes.txt: NAME lo-hi … in hexadecimal. LANG.txt: exceptions that are cut, or not, in their own way: the parts, separated by tabs.
"""
import re
import sys

import spacy
from spacy.lang import char_classes as cc
from spacy.symbols import ORTH

out = sys.argv[1]


def ranges(pattern):
    r = re.compile("[" + pattern + "]")
    got, start = [], None
    for c in range(0x110000 + 1):
        hit = c < 0x110000 and not 0xD800 <= c < 0xE000 and r.match(chr(c))
        if hit and start is None:
            start = c
        if not hit and start is not None:
            got.append((start, c - 1))
            start = None
    return got


with open(out + "/classes.txt", "w", encoding="utf-8") as f:
    f.write(f"# spaCy {spacy.__version__}\n")
    for name, pat in (("alpha", cc.ALPHA), ("lower", cc.ALPHA_LOWER), ("upper", cc.ALPHA_UPPER), ("icon", cc.CONCAT_ICONS), ("quote", cc.CONCAT_QUOTES)):
        f.write(name + " " + " ".join(f"{a:x}-{b:x}" if a != b else f"{a:x}" for a, b in ranges(pat)) + "\n")
for lang in ("en", "de", "xx"):
    nlp = spacy.blank(lang)
    with open(f"{out}/{lang}.txt", "w", encoding="utf-8") as f:
        f.write(f"# spaCy {spacy.__version__}\n")
        for k, v in sorted(nlp.tokenizer.rules.items()):
            parts = [x[ORTH] for x in v]
            if k.isspace() or any(re.search(r"\s", p) for p in parts):
                continue
            f.write("\t".join(parts) + "\n")
