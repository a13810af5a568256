"""Writes the Parquet files of datasets/testdata/pages: what pyarrow makes of the same rows with each encoding, codec and version of data pages.

    python interop/golden/parquet_files.py datasets/testdata/pages

The rows are in rows.json there: prompts and completions, some null, and columns that are not fields of a row, of each kind of value, nested too.
"""

import json
import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)

N = 240
words = ["low", "rank", "adaptation", "grüße", "日本", "é", "a" * 40]
prompt = [None if i % 97 == 5 else f"{words[i % 7]} {i // 50} prompt {i}" for i in range(N)]
completion = [f"{words[(i // 30) % 7]} answer {i % 11}" for i in range(N)]
rows = {
    "prompt": pa.array(prompt),
    "completion": pa.array(completion, pa.string()),
    "flag": pa.array([None if i % 13 == 0 else i // 40 % 2 == 0 for i in range(N)]),
    "sure": pa.array([i % 3 == 0 for i in range(N)]),
    "count": pa.array([(i * 7919) % 100003 - 5 for i in range(N)], pa.int32()),
    "wide": pa.array([None if i % 10 == 3 else (i << 33) - i * i for i in range(N)], pa.int64()),
    "score": pa.array([i / 7 for i in range(N)], pa.float32()),
    "exact": pa.array([i / 3 for i in range(N)], pa.float64()),
    "fixed": pa.array([f"{i % 1000:03d}".encode() for i in range(N)], pa.binary(3)),
    "none": pa.array([None] * N, pa.string()),
    "tags": pa.array([None if i % 17 == 0 else [words[k % 7] for k in range(i % 4)] for i in range(N)], pa.list_(pa.string())),
    "deep": pa.array([[[k * i for k in range(j)] for j in range(i % 4)] for i in range(N)], pa.list_(pa.list_(pa.int64()))),
    "nest": pa.array([None if i % 29 == 0 else {"a": i, "b": [{"c": str(i)}] * (i % 3)} for i in range(N)]),
    "stamp": pa.array([i * 1000 for i in range(N)], pa.timestamp("ms")),
}
table = pa.table(rows)
(out / "rows.json").write_text(json.dumps({"prompt": prompt, "completion": completion}, ensure_ascii=False))

texts, flat = ["prompt", "completion"], ["prompt", "completion", "count", "wide"]
delta = {"prompt": "DELTA_BYTE_ARRAY", "completion": "DELTA_LENGTH_BYTE_ARRAY", "count": "DELTA_BINARY_PACKED", "wide": "DELTA_BINARY_PACKED", "flag": "RLE",
         "sure": "RLE", "score": "BYTE_STREAM_SPLIT", "exact": "BYTE_STREAM_SPLIT", "fixed": "DELTA_BYTE_ARRAY", "stamp": "DELTA_BINARY_PACKED"}
swapped = {**delta, "prompt": "DELTA_LENGTH_BYTE_ARRAY", "completion": "DELTA_BYTE_ARRAY", "count": "BYTE_STREAM_SPLIT", "wide": "BYTE_STREAM_SPLIT",
           "fixed": "BYTE_STREAM_SPLIT"}

for version in ("1.0", "2.0"):
    v = "v" + version[0]
    for codec in ("none", "snappy", "gzip", "brotli", "zstd", "lz4"):
        pq.write_table(table, out / f"{v}_{codec}.parquet", compression=codec, data_page_version=version, data_page_size=1000, row_group_size=100,
                       write_page_checksum=True)
    for name, coding in (("plain", None), ("delta", delta), ("swapped", swapped)):
        pq.write_table(table, out / f"{v}_{name}.parquet", compression="snappy", data_page_version=version, use_dictionary=False, column_encoding=coding,
                       data_page_size=1000)
        pq.write_table(table, out / f"{v}_{name}_one.parquet", compression="none" if name == "plain" else "zstd", data_page_version=version,
                       use_dictionary=False, column_encoding=coding, write_page_index=True)
    pq.write_table(table, out / f"{v}_some_dictionary.parquet", compression="zstd", data_page_version=version, use_dictionary=texts, dictionary_pagesize_limit=400,
                   data_page_size=1000, store_schema=False)
    same = pa.table({"prompt": pa.array(["same"] * 70000), "completion": pa.array(["also"] * 70000), "none": pa.array([None] * 70000, pa.string())})
    pq.write_table(same, out / f"{v}_runs.parquet", compression="zstd", data_page_version=version, max_rows_per_page=70000)
    pq.write_table(table.slice(0, 0), out / f"{v}_empty.parquet", data_page_version=version)
