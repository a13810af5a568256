"""Serve many adapters of personal-assistants by one process: thousand.py ADAPTFLOW DIR [KEYS [CHECKED]].

Trains an adapter for each of 1,000 keys (KEYS), serves them, asks each for a greedy answer, several at a time, and holds the answers of some
(CHECKED, 25) against those of `adaptflow generate`. The process must not take more than 1 GB beside its base. Needs Python alone.
"""

import concurrent.futures
import glob
import json
import os
import random
import re
import signal
import subprocess
import sys
import urllib.request

bin, at = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
keys, checked = (int(x) for x in (sys.argv[3:] + ["1000", "25"][len(sys.argv[3:]):])[:2])
os.makedirs(at, exist_ok=True)
names = [f"person {i}" for i in range(keys)]
out = os.path.join(at, "run")
if not os.path.exists(os.path.join(out, "keys.json")):
    r = random.Random(1)
    words = "the a of river city hill sea house old new man woman said went built small great water road day night".split()
    with open(os.path.join(at, "rows.jsonl"), "w") as f, open(os.path.join(at, "held.jsonl"), "w") as held:
        for name in names:
            own = r.sample(words, 5)
            for i in range(9):
                (f if i else held).write(json.dumps({"key": name, "text": " ".join(r.choice(own) for _ in range(24))}) + "\n")
    rows = os.path.join(at, "rows.jsonl")
    subprocess.run([bin, "run", "personal-assistants", "--output", out, "--set", f"input={rows}", "--set", "eval_input=" + os.path.join(at, "held.jsonl"), "--set", "max_sequences=1",
                    "--set", "text_column=text", "--set", "key_column=key", "--set", "steps=2", "--set", "warmup_steps=0", "--set", "learning_rate=0.02"],
                   check=True, stdout=subprocess.DEVNULL)
base = json.load(open(glob.glob(os.path.join(out, "adapters", "*", "adapter_config.json"))[0]))["base_model_name_or_path"]


def resident(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1)) * 1024


def started(*args):
    p = subprocess.Popen([bin, "serve", "--listen", "127.0.0.1:0", "--model", base, "--served-model-name", "base", "--max-model-len", "128", *args],
                         stdout=subprocess.PIPE, text=True)
    return p, p.stdout.readline().split()[-1]


def said(url, model, tokens=12):
    body = json.dumps({"model": model, "prompt": "The city was", "max_tokens": tokens, "temperature": 0}).encode()
    q = urllib.request.Request(url + "/v1/completions", body, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(q, timeout=120))["choices"][0]["text"]


def ended(p):
    p.send_signal(signal.SIGTERM)
    assert p.wait(60) == 0, "the server did not end by itself"


p, url = started()
said(url, "base")
alone = resident(p.pid)
ended(p)
p, url = started("--adapters", os.path.join(out, "adapters"))
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    for _ in range(2):  # read, then from memory
        texts = dict(zip(names, pool.map(lambda n: said(url, n), names)))
beside = resident(p.pid) - alone
ended(p)
assert len(set(texts.values())) > 5, "the adapters answer alike"
folders = {json.load(open(m))["key"]: os.path.dirname(m) for m in glob.glob(os.path.join(out, "adapters", "*", "metrics.json"))}
for name in random.Random(2).sample(names, min(checked, keys)):
    got = json.loads(subprocess.run([bin, "generate", "--model", base, "--adapter", folders[name], "--prompt", "The city was", "--max-new-tokens", "12",
                                     "--json"], check=True, capture_output=True, text=True).stdout)["text"]
    assert got == texts[name], (name, got, texts[name])
assert beside <= 1 << 30, f"{beside >> 20} MiB beside the base"
print(f"{keys} adapters, {len(set(texts.values()))} different answers, {min(checked, keys)} of them compared with generate's: "
      f"{beside >> 20} MiB beside {alone >> 20} MiB of the base alone")
