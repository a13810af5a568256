#!/usr/bin/env python3
"""Makes bpe_training.json.gz: vocabularies that Hugging Face tokenizers' BpeTrainer learns from small texts (0.22.2).

    make_training.py CORPUS.jsonl…
"""
import gzip, json, os, sys
from tokenizers import Tokenizer, models, pre_tokenizers, trainers, decoders

texts = []
for p in sys.argv[1:]:
    n = 0
    for line in open(p, encoding="utf-8"):
        t = json.loads(line)["text"][:2000]
        texts.append(t)
        n += len(t)
        if n > 15000:
            break
cases = []
for name, kw, docs in (("mixed", dict(vocab_size=900, min_frequency=2, special_tokens=["<s>", "</s>", "<pad>"]), texts),
                 ("all", dict(vocab_size=20000, min_frequency=3, special_tokens=[]), texts[:12]),
                 ("repeats", dict(vocab_size=300, min_frequency=1, special_tokens=["<|endoftext|>"]), ["aaaa aaa aa a", "abababab bababa", "  \n\n  x  x", "aaaaaaaaaaaaaaaa"])):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(docs, trainers.BpeTrainer(show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **kw))
    m = json.loads(t.to_str())["model"]
    cases.append(dict(name=name, texts=docs, merges=m["merges"], vocab=[k for k, _ in sorted(m["vocab"].items(), key=lambda x: x[1])], **kw))
    print(name, len(m["merges"]), len(m["vocab"]))
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "bpe_training.json.gz"), "wb") as f:
    f.write(gzip.compress(json.dumps(cases, ensure_ascii=False).encode(), mtime=0))
