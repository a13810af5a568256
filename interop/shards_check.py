#!/usr/bin/env python3
"""pyarrow and Hugging Face datasets read the shards, and see the tokens that Hugging Face tokenizers give.

    shards_check.py SHARDS_DIR TOKENIZER_JSON SOURCE.jsonl [--text-column text] [--allow-missing]

The shards were prepared from SOURCE.jsonl alone; a document may have one token added before it and one after. Every document's pieces are put together again by doc_ids and doc_spans, and compared with the encoding of the source line; every line must be
there unless --allow-missing is given. Exits 1 at a difference.
"""
import argparse
import hashlib
import json
import pathlib
import sys
from collections import defaultdict

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

COLUMNS = {
    "input_ids": pa.list_(pa.int32()), "labels": pa.list_(pa.int32()), "doc_starts": pa.list_(pa.int32()), "doc_ids": pa.list_(pa.string()),
    "doc_spans": pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32())])), "sources": pa.list_(pa.string()), "key": pa.string(),
}


def loose(t):
    """The type without nullability and names of list elements."""
    if pa.types.is_list(t):
        return f"list<{loose(t.value_type)}>"
    if pa.types.is_struct(t):
        return "struct<" + ",".join(f"{f.name}:{loose(f.type)}" for f in t) + ">"
    return str(t)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("shards")
    ap.add_argument("tokenizer")
    ap.add_argument("source")
    ap.add_argument("--text-column", default="text")
    ap.add_argument("--allow-missing", action="store_true")
    a = ap.parse_args()
    folder = pathlib.Path(a.shards)
    manifest = json.loads((folder / "manifest.json").read_text())
    files = manifest["train"] + manifest["validation"]
    rows = []
    for f in files:
        path = folder / f["path"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == f["sha256"], f"{path}: not the bytes of the manifest"
        p = pq.ParquetFile(path)
        got = {n: loose(t) for n, t in zip(p.schema_arrow.names, p.schema_arrow.types)}
        want = {n: loose(t) for n, t in COLUMNS.items()}
        assert got == want, f"{path}: schema {got}, want {want}"
        meta = {k.decode(): v.decode() for k, v in (p.metadata.metadata or {}).items()}
        assert meta["schema_version"] == "1" and meta["tokenizer_hash"] == hashlib.sha256(pathlib.Path(a.tokenizer).read_bytes()).hexdigest(), meta
        assert p.num_row_groups == len(f["row_groups"]) and p.metadata.num_rows == f["rows"]
        rows += p.read().to_pylist()
    hf = datasets.Dataset.from_parquet([str(folder / f["path"]) for f in files])
    assert len(hf) == len(rows), f"datasets reads {len(hf)} rows, pyarrow {len(rows)}"
    pieces = defaultdict(list)
    for i, r in enumerate(rows):
        h = hf[i]
        for c in ("input_ids", "labels", "doc_starts", "doc_ids"):
            assert list(h[c]) == r[c], f"row {i}: datasets and pyarrow see other {c}"
        starts = r["doc_starts"] + [len(r["input_ids"])]
        assert len(r["doc_ids"]) == len(r["doc_starts"]), f"row {i}: prepare with isolate_documents for this check"
        for k, doc in enumerate(r["doc_ids"]):
            ids, labels = r["input_ids"][starts[k]:starts[k + 1]], r["labels"][starts[k]:starts[k + 1]]
            assert labels[0] == -100 and labels[1:] == ids[1:], f"row {i}: labels of {doc}"
            span = r["doc_spans"][k]
            pieces[int(doc.rsplit("#", 1)[1])].append((span["start"], span["end"], ids))
    tk = Tokenizer.from_file(a.tokenizer)
    lines = pathlib.Path(a.source).read_text(encoding="utf-8").split("\n")
    checked = tokens = 0
    for n, line in enumerate(lines):
        if not line.strip():
            continue
        if n not in pieces:
            assert a.allow_missing, f"line {n} is in no shard"
            continue
        text = json.loads(line)[a.text_column]
        e = tk.encode(text, add_special_tokens=False)
        # An added token alone in its piece has the empty span at the text's beginning or end.
        parts = sorted(pieces.pop(n), key=lambda p: p[:2])
        ids = [t for p in parts for t in p[2]]
        lead = 0 if ids[: len(e.ids)] == e.ids else 1
        assert ids[lead:lead + len(e.ids)] == e.ids and len(ids) - len(e.ids) - lead in (0, 1), f"line {n}: other tokens than tokenizers gives"
        offsets_all = [(0, 0)] * lead + e.offsets
        at = 0
        for start, end, part in parts:
            offsets = [o for o in offsets_all[at:at + len(part)] if o[1] > o[0]]
            at += len(part)
            if offsets:
                assert (start, end) == (min(o[0] for o in offsets), max(o[1] for o in offsets)), f"line {n}: span {start}, {end}"
        checked += 1
        tokens += len(ids)
    assert not pieces, f"shards hold documents that the source has not: {sorted(pieces)[:5]}"
    assert tokens == manifest["tokens"], f"{tokens} tokens, the manifest says {manifest['tokens']}"
    print(f"shards: {len(files)} files, {len(rows)} rows, {checked} documents, {tokens} tokens: the same by pyarrow, datasets and tokenizers")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AssertionError as err:
        print(f"shards_check: {err}", file=sys.stderr)
        sys.exit(1)
