#!/usr/bin/env python3
"""Opens what `adaptflow tokenizer extend` wrote in transformers: the tokenizer, the model, its new rows.

    tokenizer_check.py --base FOLDER --extended FOLDER --input FILE.jsonl
"""
import argparse
import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--base", required=True)
ap.add_argument("--extended", required=True)
ap.add_argument("--input", required=True)
a = ap.parse_args()
old, new = AutoTokenizer.from_pretrained(a.base), AutoTokenizer.from_pretrained(a.extended)
before, after = (AutoModelForCausalLM.from_pretrained(d, torch_dtype=torch.float32) for d in (a.base, a.extended))
stored = AutoModelForCausalLM.from_pretrained(a.base, torch_dtype="auto").dtype
first = max(old.get_vocab().values()) + 1
added = {i: t for t, i in new.get_vocab().items() if i >= first}
bad = []
if not added or sorted(added) != list(range(first, first + len(added))):
    bad.append("new ids are not in a row from %d: %d of them" % (first, len(added)))
for t, i in old.get_vocab().items():
    if new.get_vocab().get(t) != i:
        bad.append("token %r had id %d and has %s" % (t, i, new.get_vocab().get(t)))
for name, x, y in (("embedding", before.get_input_embeddings(), after.get_input_embeddings()), ("head", before.get_output_embeddings(), after.get_output_embeddings())):
    if y.weight.shape[0] < first + len(added) or not torch.equal(x.weight[:first], y.weight[:first]):
        bad.append("%s: %s rows, or old rows changed" % (name, tuple(y.weight.shape)))
    for i in added:
        pieces = [t.id for t in old.backend_tokenizer.model.tokenize(new.convert_ids_to_tokens(i))]
        mean = x.weight[pieces].mean(0)
        if not torch.allclose(y.weight[i], mean.to(stored).float(), atol=1e-6, rtol=2**-8 if stored == torch.bfloat16 else 1e-3):
            bad.append("%s: row %d is not the mean of %s" % (name, i, pieces))
text = "".join(json.loads(line)["text"] + "\n" for line in list(open(a.input, encoding="utf-8"))[:20])
x, y = old.encode(text, add_special_tokens=False), new.encode(text, add_special_tokens=False)
if new.decode(y) != old.decode(x) or len(y) >= len(x):
    bad.append("%d tokens of the old vocabulary, %d of the new; the same text: %s" % (len(x), len(y), new.decode(y) == old.decode(x)))
out = after(torch.tensor([y[:64]])).logits
if not torch.isfinite(out).all():
    bad.append("logits are not finite")
print("%d new tokens, %d tokens for a text that took %d; tied: %s" % (len(added), len(y), len(x), after.config.tie_word_embeddings))
for b in bad[:10]:
    print("WRONG:", b)
sys.exit(bool(bad))
