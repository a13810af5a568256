#!/usr/bin/env bash
# Builds examples/beam, a module of its own, and runs its pipelines on Prism and on a Flink brought up from Maven. From lines of text to an
# adapter: adapter, shards, scores and dead letters must have the same bytes. Answers of an adapter and of the base must be the same, and
# texts of an unbounded source must be answered in their windows.
#   beam.sh ADAPTFLOW WORKDIR
set -euo pipefail
bin=$1 work=$2
mkdir -p "$work"
source "$(dirname "$0")/engines.sh"
engine=flink
(cd "$(dirname "$0")/../examples/beam" && go build -o "$work/" ./...)
"$bin" run domain-adaptation --set steps=1 --set data.eval_input=[] --set data.general_input=[] --set "input=$work/part-1.jsonl" --set text_column=text \
  --output "$work/unpacked" > "$work/unpack.log" 2>&1 || { tail "$work/unpack.log"; exit 1; } # which leaves the embedded model in the cache
model=$(sed -n 's/.*"base_model_name_or_path": *"\([^"]*\)".*/\1/p' "$work/unpacked/adapter/adapter_config.json")
# Lines of words drawn by a counter: what follows one another is not what another line has, but in five that come twice.
awk 'BEGIN { n = split("ferry harbour leaves morning comes back nine seven captain island bridge late early river page call file opens", w)
  x = 7; for (i = 1; i <= 120; i++) { line = "Note " i ":"
    for (j = 1; j <= 20 + i % 9; j++) { x = (x * 16807) % 2147483647; line = line " " w[1 + int(x / 1000) % n] }
    print line "." } }' > "$work/lines.txt"
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

mkdir -p "$work/adapters" && cp -r "$work/prism/adapter" "$work/adapters/notes"
printf 'notes\tNote 1: ferry\nbase\tNote 1: ferry\nnotes\tThe file\nnobody\tThe file\n' > "$work/prompts.tsv"
answer() { "$work/answer" --input "$work/prompts.tsv" --model "$model" --adapters "$work/adapters" --output "$@"; }
answer "$work/prism" > "$work/prism.log" 2>&1 || { tail -c 3000 "$work/prism.log"; exit 1; }
answer "$work/$engine" --runner "$engine" --endpoint "$endpoint" --environment_type LOOPBACK > "$work/$engine.log" 2>&1 || { tail -c 3000 "$work/$engine.log"; exit 1; }
for f in answers refused; do
  [ -s "$work/prism/$f.tsv" ] && cmp <(sort "$work/prism/$f.tsv") <(sort "$work/$engine/$f.tsv") || { echo "other answers on $engine than on Prism, or none: $f"; exit 1; }
done
"$work/stream" --model "$model" --for 3s --runner "$engine" --endpoint "$endpoint" --environment_type LOOPBACK > "$work/stream.txt" 2> "$work/stream.log" || { tail -c 3000 "$work/stream.log"; exit 1; }
windows=$(sed -n 's/^\(\[[0-9:]*)\) .*/\1/p' "$work/stream.txt" | sort -u | wc -l)
[ "$(wc -l < "$work/stream.txt")" -ge 15 ] && [ "$windows" -ge 3 ] || { echo "the stream gave $(wc -l < "$work/stream.txt") answers in $windows windows on $engine"; exit 1; }
echo "examples/beam: answers of $engine equal Prism's; its stream gave $(wc -l < "$work/stream.txt") answers in $windows windows"
