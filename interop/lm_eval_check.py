"""Measure with the real lm-evaluation-harness what `adaptflow serve` serves, and the same model by the harness's own backend.

    lm_eval_check.py data DIR                          writes the rows of the tasks in lm_eval/ to DIR/data, from adaptflow's embedded corpora
    lm_eval_check.py ask DIR OUT ROWS MODEL ARGS [chat] evaluates so many rows a task with a model of the harness: hf, local-completions,
                                                       local-chat-completions (by the chat template, what is generated alone; with chat
                                                       hf does so as well, into chat-OUT)
    lm_eval_check.py compare DIR ONE OTHER             holds the results against each other: each log-likelihood within 1e-3, each mark of
                                                       the greedy choice, each text and each score equal

lm_eval 0.4.13 of requirements-serve.txt; hf needs torch, transformers and peft as well.
"""

import io
import json
import math
import os
import random
import sys

here = os.path.dirname(os.path.abspath(__file__))
tasks = ["serve_topics", "serve_lastword", "serve_rolling", "serve_sums"]
most = 1e-3


def embedded(name):
    import zstandard

    with open(os.path.join(here, "..", "templates", "assets", "files", name + ".zst"), "rb") as f:
        return io.StringIO(zstandard.ZstdDecompressor().stream_reader(f).read().decode("utf-8"), newline="")


def data(folder):
    import csv

    os.makedirs(os.path.join(folder, "data"), exist_ok=True)

    def write(name, rows):
        with open(os.path.join(folder, "data", name + ".jsonl"), "w", encoding="utf-8") as f:
            f.writelines(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)

    r = random.Random(7)
    rows = [x for x in csv.DictReader(embedded("banking77/valid.csv")) if len(x["text"]) < 200]
    labels = sorted({x["label"] for x in rows})
    r.shuffle(rows)

    def topic(x):
        choices = r.sample([t for t in labels if t != x["label"]], 3)
        answer = r.randrange(4)
        choices.insert(answer, x["label"])
        return {"text": x["text"].strip(), "choices": [c.replace("_", " ") for c in choices], "answer": answer}

    write("topics", map(topic, rows[:100]))
    write("topics_shots", map(topic, rows[100:120]))
    pages = [json.loads(line)["text"] for line in embedded("general_en/heldout.jsonl")]
    write("rolling", [{"page": p[i:i + 1200]} for p in pages for i in range(0, len(p), 1200) if len(p) - i > 300][:100])
    words = [s.rsplit(" ", 1) for p in pages for s in p.split(". ") if 60 < len(s) < 300 and s.rsplit(" ", 1)[1].isalpha()]
    r.shuffle(words)
    write("lastword", [{"context": c, "word": w} for c, w in words[:100]])
    write("sums", [{"question": x["question"], "answer": x["answer"]}
                   for part in ("test", "train") for x in map(json.loads, embedded(f"gsm8k/{part}.jsonl")) if len(x["question"]) < 400][:100])


def ask(folder, out, rows, model, args, also=""):
    os.chdir(folder)
    import lm_eval
    from lm_eval.api.registry import get_model
    from lm_eval.tasks import TaskManager

    more = {"batch_size": 1, "device": "cpu"} if model == "hf" else {}
    lm = get_model(model).create_from_arg_string(args, more)
    chats = model == "local-chat-completions"
    for chat, to in [(chats, out)] + [(True, "chat-" + out)] * (also == "chat"):
        got = lm_eval.simple_evaluate(
            model=lm, tasks=tasks[3:] if chat else tasks, limit=int(rows), log_samples=True, bootstrap_iters=0, apply_chat_template=chat,
            task_manager=TaskManager(include_path=os.path.join(here, "lm_eval"), include_defaults=False))
        keep = {"results": {t: {k: v for k, v in r.items() if isinstance(v, float)} for t, r in got["results"].items()},
                "samples": {t: [[s["doc_id"], s["resps"]] for s in sorted(rows, key=lambda s: s["doc_id"])]
                            for t, rows in got["samples"].items()}}
        with open(to, "w", encoding="utf-8") as f:
            json.dump(keep, f)


def numbers(x):
    """The values of a sample's answers, one after another."""
    if isinstance(x, (list, tuple)):
        for y in x:
            yield from numbers(y)
    else:
        yield x


def compare(folder, one, other):
    a, b = (json.load(open(os.path.join(folder, p), encoding="utf-8")) for p in (one, other))
    assert a["samples"].keys() == b["samples"].keys(), (one, other)
    worst, of = 0.0, 0
    for task, rows in a["samples"].items():
        assert len(rows) == len(b["samples"][task]) > 0, task
        for (i, x), (j, y) in zip(rows, b["samples"][task]):
            assert i == j
            for p, q in zip(numbers(x), numbers(y), strict=True):
                of += 1
                if isinstance(p, str):
                    assert p == q, f"{task}, row {i}: {other} says {q!r}, {one} {p!r}"
                elif isinstance(p, bool):
                    assert p is q, f"{task}, row {i}: greedy is {q} by {other}, {p} by {one}"
                else:
                    worst = max(worst, abs(p - q))
                    assert abs(p - q) <= most, f"{task}, row {i}: a log-likelihood is {q} by {other}, {p} by {one}"
        for k, v in a["results"][task].items():
            w = b["results"][task][k]
            near = math.isclose(v, w, rel_tol=1e-4) if "perplexity" in k or "bits" in k else v == w or math.isnan(v) and math.isnan(w)
            assert near, f"{task}: {k} is {w} by {other}, {v} by {one}"
    print(f"lm_eval: {other} has what {one} has in {of} values of {len(a['samples'])} tasks; log-likelihoods differ by {worst:.1e} at most")


if __name__ == "__main__":
    do, *rest = sys.argv[1:]
    if do == "ask":
        ask(*rest)
    else:
        {"data": data, "compare": compare}[do](*rest)
