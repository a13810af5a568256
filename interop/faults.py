"""Runs the folders of faults and checks what came of each: a fault that was mended stays mended.

  faults.py ADAPTFLOW FOLDER [FOLDER…]     in the peers' environment (pyarrow, tokenizers, safetensors)

A folder has a folder ID for each fault, with its input and cmd.sh; a later FOLDER's ID takes the place of an earlier one's. An ID without a row in CHECKS is an error.
"""
import concurrent.futures
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import pyarrow
import pyarrow.parquet as parquet
from safetensors.numpy import load_file
from tokenizers import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
EMBEDDED = os.path.join(HERE, "..", "templates", "assets", "files", "lm-en-5m")
EOS = 0  # of the embedded model: <|endoftext|>


class Result:
    """What a fault's command left: its output, its exit code, its shards."""

    def __init__(self, folder, output):
        self.folder, self.output = folder, output
        exits = re.findall(r"^exit (\d+)$", output, re.M) + re.findall(r"^(\d+)$", output, re.M)
        self.exit = int(exits[0]) if exits else None

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def tokenizer(self, model=None):
        if model:
            return Tokenizer.from_file(self.path(model, "tokenizer.json"))
        return embedded()

    def documents(self, part="train"):
        """The documents of the shards: (ids, labels) each."""
        out = []
        for path in sorted(glob.glob(self.path("out", "shards", part + "-*.parquet"))):
            for row in parquet.read_table(path).to_pylist():
                starts = row["doc_starts"] + [len(row["input_ids"])]
                out += [(row["input_ids"][a:b], row["labels"][a:b]) for a, b in zip(starts, starts[1:])]
        return out

    def texts(self, part="train"):
        """The documents' texts, without special tokens."""
        return sorted(self.tokenizer().decode(ids, skip_special_tokens=True) for ids, _ in self.documents(part))

    def learnt(self):
        """What is learnt of each document, without special tokens."""
        return sorted(self.tokenizer().decode([x for x in labels if x != -100], skip_special_tokens=True) for _, labels in self.documents())

    def rejects(self):
        """Dead letters, as adaptflow inspect prints them."""
        out = ""
        for path in sorted(glob.glob(self.path("out", "rejects", "*"))):
            out += subprocess.run([PROGRAM, "inspect", path], capture_output=True, text=True).stdout
        return out

    def logits_differ(self):
        """The greatest difference of got.safetensors from expected.safetensors."""
        a, b = load_file(self.path("got.safetensors"))["logits"], load_file(self.path("expected.safetensors"))["logits"]
        assert a.shape == b.shape, (a.shape, b.shape)
        return float(abs(a - b).max())


def embedded():
    files = glob.glob(os.path.join(EMBEDDED, "tokenizer.json*"))
    data = open(files[0], "rb").read()
    if files[0].endswith(".zst"):
        data = pyarrow.CompressedInputStream(files[0], "zstd").read()
    return Tokenizer.from_str(data.decode())


def tsv(r):
    texts = r.texts() + r.texts("validation")
    want = [('"Stop," he said.', '"Halt," sagte er.'), ("I see a dog.", "Ich sehe einen Hund."), ('He said "yes"', "Er sagte ja"), ("Good night.", "Gute Nacht.")]
    for en, de in want:
        assert any(en in t and de in t and sum(d in t for _, d in want) == 1 for t in texts), (en, de, texts)
    assert len(texts) == 4, texts


def empty_instruction(r):
    assert r.exit == 0 and len(r.documents()) == 2, (r.exit, r.texts())
    assert any("What is the capital of Norway?" in t and "Oslo." in t for t in r.texts()), r.texts()


def utf16(r):
    if r.exit != 0:
        assert "UTF-16" in r.output, r.output
        return
    texts = r.texts() + r.texts("validation")
    assert len(texts) == 30 and not any("\0" in t for t in texts) and any("line number 29 of a file" in t for t in texts), texts


def same_logits(r):
    assert r.exit == 0 and r.logits_differ() < 1e-4, (r.exit, r.output)


def warned(r):
    same_logits(r)
    assert "brand_new_config" in r.output, r.output


def added_token(r):
    if r.exit != 0:
        assert "<|tool|>" in r.output, r.output
        return
    (ids, _), = r.documents()
    assert [i for i in ids if i not in (0,)][:3] == [68, 4096, 69], ids


def learns_eos(r):
    assert r.documents() == [([36, 1909, 1608, 17, EOS], [-100, 1909, 1608, 17, EOS])] or \
        r.documents() == [([36, 1909, 1608, 17, EOS], [36, 1909, 1608, 17, EOS])], r.documents()


def two_documents(r):
    assert r.exit == 0 and len(r.documents()) == 2, (r.exit, r.output)


def null_answer(r):
    assert len(r.documents()) == 1 and "null_text" in r.rejects(), (r.documents(), r.rejects())
    assert r.learnt()[0].strip().startswith("g2"), r.learnt()


def weight(r):
    if not r.documents():
        return
    learnt = " ".join(r.learnt())
    assert "learn this" in learnt and "do not" not in learnt, learnt


def ultrafeedback(r):
    assert r.exit == 0 and len(r.documents()) == 2, (r.exit, r.output)
    learnt = " ".join(r.learnt())
    assert "Blue." in learnt and "Cat." in learnt and "Table." not in learnt and "Name" not in learnt, learnt


def unknown_pad(r):
    assert r.exit == 0 and len(r.documents()) == 1, (r.exit, r.output)


def csv_raw(r):
    texts = r.texts() + r.texts("validation")
    assert any("line one\r\nline two" in t for t in texts), texts
    assert any('he said "hi" there' in t for t in texts) or 'he said "hi" there' in r.rejects(), (texts, r.rejects())


CHECKS = {
    "B01": tsv, "B02": empty_instruction, "B05": utf16, "B06": same_logits, "B07": warned, "B09": added_token, "B11": learns_eos, "B12": two_documents,
    "B14": null_answer, "B16": weight, "B17": ultrafeedback, "B19": unknown_pad, "B21": csv_raw,
}


def run(name, source, work):
    folder = os.path.join(work, name)
    shutil.copytree(source, folder)
    subprocess.run(["chmod", "-R", "u+w", folder], check=True)
    path = os.pathsep.join([os.path.dirname(PROGRAM), os.path.dirname(sys.executable), os.environ["PATH"]])
    p = subprocess.run(["sh", "cmd.sh"], cwd=folder, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       errors="replace", timeout=300)
    r = Result(folder, p.stdout)
    try:
        CHECKS[name](r)
    except Exception as e:  # any exception is a failed check
        tail = "\n".join(line[:300] for line in p.stdout.splitlines()[-12:])
        return f"{name}: {type(e).__name__}: {str(e)[:1500]}\n{tail}"
    return None


def main():
    sources = {}
    for folder in sys.argv[2:]:
        for path in sorted(glob.glob(os.path.join(folder, "*", "cmd.sh"))):
            name = os.path.basename(os.path.dirname(path))
            if name not in CHECKS:
                sys.exit(f"{os.path.dirname(path)}: no check knows this fault: add a row to CHECKS")
            sources[name] = os.path.dirname(path)
    with tempfile.TemporaryDirectory() as work, concurrent.futures.ThreadPoolExecutor(2) as pool:
        names = sorted(sources)
        failed = [x for x in pool.map(lambda n: run(n, sources[n], work), names) if x]
    for x in failed:
        print("FAILED", x)
    print(f"{len(names) - len(failed)} of {len(names)} faults are mended: {' '.join(names)}")
    sys.exit(1 if failed else 0)


PROGRAM = os.path.abspath(sys.argv[1])
main()
