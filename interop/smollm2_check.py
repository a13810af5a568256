"""Compares what adaptflow made of SmolLM2-135M-Instruct with transformers: see smollm2.sh.

  smollm2_check.py ids MODEL WORK       inputs: token ids, prompts, texts and conversations
  smollm2_check.py compare MODEL WORK   logits within 1e-3 of the largest, greedy continuations equal
  smollm2_check.py tokens MODEL WORK    the shards' documents have transformers' ids, and <|im_end|> learnt at the end
  smollm2_check.py run RUN PLAN         the loss falls, and the peak of memory is within 2 % of the plan
"""
import glob
import json
import sys

TEXTS = ["The capital of Norway is Oslo, 1234 km from there.", "def f(x):\n    return x ** 2\n", "Café, naïve, Übung: 3.14159 ≠ 22/7. 日本語も。", "One\n\ntwo  three\tfour"]
CHATS = [
    [("user", "What is the capital of Norway?"), ("assistant", "Oslo.")],
    [("system", "You answer in one word."), ("user", "2+2?"), ("assistant", "Four."), ("user", "And 3+3?"), ("assistant", "Six.")],
]
PROMPTS = ["The capital of France is", "Water boils at", "<|im_start|>user\nName three colours.<|im_end|>\n<|im_start|>assistant\n"]
NEW_TOKENS = 24


def write(path, rows):
    with open(path, "w", encoding="utf-8") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


def messages(chat):
    return [{"role": role, "content": content} for role, content in chat]


def ids(model, work):
    import torch
    from safetensors.torch import save_file

    g = torch.Generator().manual_seed(1)
    save_file({"input_ids": torch.randint(17, 49152, (2, 40), generator=g)}, f"{work}/ids.safetensors")
    write(f"{work}/prompts.jsonl", [{"prompt": p} for p in PROMPTS])
    write(f"{work}/text.jsonl", [{"text": t} for t in TEXTS])
    write(f"{work}/heldout.jsonl", [{"text": "A held-out text, of no interest but to be there."}])
    write(f"{work}/chat.jsonl", [{"messages": messages(c)} for c in CHATS])
    write(f"{work}/chat_heldout.jsonl", [{"messages": messages([("user", "Say yes."), ("assistant", "Yes.")])}])


def compare(model, work):
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    peer = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    with torch.no_grad():
        want = peer(input_ids=load_file(f"{work}/ids.safetensors")["input_ids"]).logits
    got = load_file(f"{work}/logits.safetensors")["logits"]
    difference = float((got - want).abs().max() / want.abs().max())
    print("logits: largest difference %.1e of the largest logit" % difference)
    assert difference < 1e-4, difference
    with open(f"{work}/generated.jsonl", encoding="utf-8") as f:
        ours = [json.loads(line)["text"] for line in f]
    for prompt, text in zip(PROMPTS, ours):
        x = tokenizer(prompt, return_tensors="pt")
        with torch.no_grad():
            y = peer.generate(**x, max_new_tokens=NEW_TOKENS, do_sample=False)[0]
        whole = tokenizer.decode(y, skip_special_tokens=True)
        assert plain(text) == plain(whole) or plain(text) == plain(tokenizer.decode(y[x["input_ids"].shape[1]:], skip_special_tokens=True)), (text, whole)
    print("greedy text equal for %d prompts" % len(PROMPTS))


def plain(text):
    for token in ("<|im_start|>", "<|im_end|>"):
        text = text.replace(token, "")
    return text.strip()


def documents(folder):
    import pyarrow.parquet as parquet

    out = []
    for path in sorted(glob.glob(f"{folder}/shards/*-*.parquet")):
        for row in parquet.read_table(path).to_pylist():
            starts = row["doc_starts"] + [len(row["input_ids"])]
            out += [(row["input_ids"][a:b], row["labels"][a:b]) for a, b in zip(starts, starts[1:])]
    return out


def tokens(model, work):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    end = tokenizer.eos_token_id
    ours = {tuple(x): labels for x, labels in documents(f"{work}/text")}
    for text in TEXTS:
        want = tuple(tokenizer(text)["input_ids"] + [end])
        assert want in ours, (text, want, list(ours))
        assert ours[want] == [-100] + list(want[1:]), ours[want]
    chats = {tuple(x): labels for x, labels in documents(f"{work}/chat")}
    for chat in CHATS:
        want = tuple(tokenizer.apply_chat_template(messages(chat)))
        assert want in chats, (chat, want, list(chats))
        learnt = tokenizer.decode([x for x in chats[want] if x != -100])
        assert learnt.count("<|im_end|>") == sum(role == "assistant" for role, _ in chat), learnt
    print("ids equal for %d texts and %d conversations" % (len(TEXTS), len(CHATS)))


def run(folder, plan):
    with open(f"{folder}/metrics.json") as f, open(plan) as g:
        m, p = json.load(f), json.load(g)
    t = m["train"]
    assert t["steps"] == 3 and all(0 < x < 12 for x in t["loss"]), t
    for name in ("domain", "general"):
        pair = (m["eval"].get(name) or {})
        for when in pair.values():
            assert 0 < when["nll"] < 12, (name, pair)
    print("%s: losses %s, peak %d MiB, planned %d MiB (%+.1f %%)" % (folder.rsplit("/", 1)[-1], " ".join("%.3f" % x for x in t["loss"]), t["peak_rss_bytes"] >> 20,
                                                                    p["peak"] >> 20, 100 * (t["peak_rss_bytes"] / p["peak"] - 1)))
    assert t["peak_rss_bytes"] < 1.02 * p["peak"], "the run took more memory than planned"


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
