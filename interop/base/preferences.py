"""The embedded pairs of HH-RLHF: preferences.py harmless.jsonl.gz OUT (a folder) writes train.jsonl and test.jsonl.

Whole dialogues become a prompt, to the last turn of the assistant, and two answers. Short pairs alone are taken, and none with coarse words.
"""
import gzip
import json
import re
import sys

TURN = "\n\nAssistant:"
COARSE = re.compile(r"fuck|shit|bitch|cunt|nigg|fag|slut|whore|rape|raping|pussy|dick|cock|porn|sex|jew|muslim|kill|murder|suicid|terror|pedo|molest", re.I)
pairs = []
for line in gzip.open(sys.argv[1], "rt", encoding="utf-8"):
    row = json.loads(line)
    chosen, rejected = row["chosen"], row["rejected"]
    i, j = chosen.rfind(TURN), rejected.rfind(TURN)
    if i < 0 or chosen[:i] != rejected[:j] or max(len(chosen), len(rejected)) > 600 or COARSE.search(chosen + rejected):
        continue
    prompt, a, b = chosen[: i + len(TURN)], chosen[i + len(TURN):], rejected[j + len(TURN):]
    if a.strip() and b.strip() and a != b:
        pairs.append({"prompt": prompt, "chosen": a, "rejected": b})
for name, part in (("train", pairs[:400]), ("test", pairs[400:480])):
    with open("%s/%s.jsonl" % (sys.argv[2], name), "w", encoding="utf-8") as f:
        for p in part:
            f.write(json.dumps(p, ensure_ascii=False) + "\n")
print(len(pairs))
