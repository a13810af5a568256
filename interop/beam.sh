#!/usr/bin/env bash
# Builds examples/beam, a module of its own, and runs its pipeline from lines of text to an adapter on Prism and on a Flink brought up from
# Maven. Adapter, shards, scores and dead letters must have the same bytes.
#   beam.sh ADAPTFLOW WORKDIR
set -euo pipefail
bin=$1 work=$2
mkdir -p "$work"
source "$(dirname "$0")/engines.sh"
engine=flink
(cd "$(dirname "$0")/../examples/beam" && go build -o "$work/adapt" ./adapt)
"$bin" run domain-adaptation --set steps=1 --set data.eval_input=[] --set data.general_input=[] --set "input=$work/part-1.jsonl" --set text_column=text \
  --output "$work/unpacked" > "$work/unpack.log" 2>&1 || { tail "$work/unpack.log"; exit 1; } # which leaves the embedded model in the cache
model=$(sed -n 's/.*"base_model_name_or_path": *"\([^"]*\)".*/\1/p' "$work/unpacked/adapter/adapter_config.json")
sed 's/.*"text": "//; s/"}$//' "$work"/part-*.jsonl > "$work/lines.txt"
head -n 5 "$work/lines.txt" > "$work/again.txt"
cat "$work/again.txt" >> "$work/lines.txt"
echo "No." >> "$work/lines.txt"
adapt() { "$work/adapt" --input "$work/lines.txt" --model "$model" --steps 4 --output "$@"; }
adapt "$work/prism" > "$work/prism.log" 2>&1 || { tail -c 3000 "$work/prism.log"; exit 1; }
trap '"$bin" $engine down --dir "$work/$engine-server" > /dev/null 2>&1 || true' EXIT
endpoint=$("$bin" "$engine" up ${UP:-} --dir "$work/$engine-server" 2> "$work/up.log") || { cat "$work/up.log"; exit 1; }
adapt "$work/$engine" --runner "$engine" --endpoint "$endpoint" --environment_type LOOPBACK > "$work/$engine.log" 2>&1 || { tail -c 3000 "$work/$engine.log"; exit 1; }
for f in $(cd "$work/prism" && find shards -name '*.parquet' | sort) adapter/adapter_model.safetensors adapter/adapter_config.json scores.jsonl; do
  same "$work/prism/$f" "$work/$engine/$f"
done
for f in rejects repeated; do
  [ -s "$work/prism/$f.jsonl" ] && cmp <(sort "$work/prism/$f.jsonl") <(sort "$work/$engine/$f.jsonl") || { echo "other dead letters on $engine than on Prism, or none: $f"; exit 1; }
done
echo "examples/beam/adapt: adapter, $(find "$work/$engine/shards" -name '*.parquet' | wc -l) shards, scores and dead letters of $engine equal Prism's in bytes: $(cat "$work/$engine/scores.jsonl")"
