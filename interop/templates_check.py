"""Checks what small runs of the templates measured: the fields of metrics.json and the lines of the final table, with values in sane ranges.

  templates_check.py FOLDER   with a folder and a log of each run: multilingual-adaptation, continued-pretraining, distillation, instruction-tuning, classification
"""
import json
import math
import sys


def read(name):
    with open(f"{sys.argv[1]}/{name}/metrics.json") as f, open(f"{sys.argv[1]}/{name}.log", encoding="utf-8") as g:
        return json.load(f), g.read()


def scores(where, pair, most=1.0):
    for when in ("before", "after"):
        s = pair[when]
        assert s["tokens"] > 0 and 0.5 < s["nll"] < 12 and math.isclose(s["perplexity"], math.exp(s["nll"]), rel_tol=1e-6), (where, when, s)
    assert pair["after"]["nll"] < most * pair["before"]["nll"], f"{where}: the loss is over {most} of what it was: {pair}"


def common(name, m, steps):
    t, d = m["train"], m["data"]
    assert t["steps"] == steps == len(t["loss"]) and all(0 < x < 12 for x in t["loss"]) and 0 < t["trainable_parameters"] <= t["total_parameters"], (name, t)
    assert (t["trainable_parameters"] == t["total_parameters"]) == (name == "continued-pretraining"), (name, t)
    assert d["read"] == d["kept"] + sum(d["rejected"].values()) and 0.5 < d["fill_rate"] <= 1, (name, d)


def lines(log, names):
    for n in names:
        assert any(line.strip().startswith(n) for line in log.splitlines()), f"the table has no line {n!r}:\n{log}"


m, log = read("multilingual-adaptation")
common("multilingual-adaptation", m, 12)
e = m["eval"]
names = [s["name"] for s in e["sources"]]
assert names == ["de", "en-de", "en-fr", "en-ja", "en-ru", "fr", "ja", "ru"], names
for s in e["sources"]:
    pairs = s["name"].startswith("en-")
    scores(s["name"], s, 1.0 if pairs else 1.1)  # so few steps teach the pairs' form first
    assert ("translation" in s) == pairs == s.get("on_answers", False), s
    if pairs:
        for when in ("before", "after"):
            x = s["translation"][when]
            assert x["pairs"] == 2 and 0 <= x["chrf"] < 60 and 0 <= x["chrf++"] < 60, s
scores("all", e["domain"])
assert e["general"]["after"]["perplexity"] < 3 * e["general"]["before"]["perplexity"], e["general"]
mix = m["data"]["funnel"][-1]
assert mix["name"] == "mix" and mix["in"] == mix["kept"], mix
# p_i is in proportion to n_i^(1/T), where n_i is what one use of each document gives.
tokens = {n: mix["counters"][n + ".tokens"] for n in names}
assert min(tokens.values()) > 0.5 * max(tokens.values()) and mix["counters"]["en-fr.repeated"] > 900 and mix["counters"]["de.repeated"] == 0, mix
lines(log, ["perplexity", "de ", "ru ", "en-ja (completions)", "general (forgetting)", "chrF", "en-de (of 2)", "mix"])

m, log = read("continued-pretraining")
common("continued-pretraining", m, 8)
scores("domain", m["eval"]["domain"], 0.97)
lines(log, ["domain", "general (forgetting)", "trained parameters"])

m, log = read("distillation")
common("distillation", m, 8)
scores("domain", m["eval"]["domain"], 0.97)
lines(log, ["domain", "general (forgetting)", "trained parameters"])

m, log = read("instruction-tuning")
common("instruction-tuning", m, 12)
scores("answers", m["eval"]["domain"])
a = m["eval"]["answers"]
assert m["eval"]["on_answers"] and all(a[w]["questions"] == 4 and a[w]["rule"] == "number" and 0 <= a[w]["exact_match"] <= 1 for w in a), a
lines(log, ["answers (held-out)", "loss on answers", "exact match (of 4)", "general (forgetting)"])

m, log = read("classification")
common("classification", m, 40)
c = m["eval"]["classification"]
assert len(c["after"]["labels"]) == len(c["after"]["f1"]) == 77 and c["after"]["documents"] == c["before"]["documents"] > 500, c
assert c["after"]["loss"] < c["before"]["loss"] and c["after"]["accuracy"] > c["before"]["accuracy"] and 0 <= c["after"]["macro_f1"] <= 1, c
lines(log, ["77 classes", "accuracy", "macro F1", "loss"])
print("templates: fields, tables and ranges of five runs are as expected")
