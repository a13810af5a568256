#!/usr/bin/env python3
"""Writes the text on which the embedded base model is continued, from a folder of the project's data (general_en, instruct_gpteacher, instruct_self, parallel).

    data.py DATA OUT

No held-out, valid or test file is read, and no manual page. openings.jsonl holds the openings of encyclopedia articles that `adaptflow generate`
continues: samples of the base itself, without which it would forget the kind of text that none of the files is (pseudo-rehearsal).
"""
import json
import pathlib
import sys

data, out = map(pathlib.Path, sys.argv[1:])
out.mkdir(parents=True, exist_ok=True)


def rows(path):
    return [json.loads(line) for line in open(data / path, encoding="utf-8")]


def write(name, items, field="text"):
    with open(out / f"{name}.jsonl", "w", encoding="utf-8") as f:
        for text in items:
            f.write(json.dumps({field: text}, ensure_ascii=False) + "\n")
    print(f"{name}: {len(items)} rows, {sum(map(len, items))} characters")


write("replay", [r["text"] for r in rows("general_en/replay.jsonl")])
for name in ("roleplay", "toolformer"):
    answers = json.load(open(data / f"instruct_gpteacher/{name}.json", encoding="utf-8"))
    write(f"gpt_{name}", ["\n".join(r[k] for k in ("instruction", "input", "response") if r[k]).strip() for r in answers])

# The English of the handbook: the paragraphs that any of its translations has, by chapter.
chapters = {}
for lang in ("de", "fr", "ja", "ru"):
    for r in rows(f"parallel/handbook.en-{lang}.train.jsonl"):
        chapter, number = r["id"].split("#")
        chapters.setdefault(chapter, {}).setdefault(int(number), r["en"])
write("handbook", ["\n\n".join(c[i] for i in sorted(c)) for c in chapters.values()])
write("self", [json.dumps(r) for r in rows("instruct_self/seed_tasks.jsonl")])

titles = ["<unk>", "The <unk>", "<unk> <unk>", "<unk> ( <unk> )", "The <unk> of <unk>", "<unk> of the <unk>", "<unk> and <unk>", "<unk>, <unk>"]
starts = ["\n\n{} is a", "\n\n{} was", "\n\n{} (born", "\n\nThe {}", "\n\nIn 1", "\n\n<unk> <unk>", " <unk> was", " in the <unk>", "\n\n{} is", "\n\nThe <unk>"]
write("openings", [t + s.format(t.replace("( <unk> )", "").strip()) for t in titles for s in starts], "prompt")
