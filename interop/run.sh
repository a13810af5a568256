#!/usr/bin/env bash
# Runs adaptflow on its embedded model and corpus, then checks with the real peers what it wrote.
#   run.sh ADAPTFLOW PYTHON WORKDIR
set -euo pipefail
bin=$1 python=$2 work=$3
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$work"

"$bin" run domain-adaptation --set steps=40 --output "$work/run"
base=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["base_model_name_or_path"])' "$work/run/adapter/adapter_config.json")

echo "-- Hugging Face PEFT loads the adapter; merging changes no logit"
"$python" "$here/peft_check.py" ids "$work/ids.safetensors" --model "$base"
"$bin" logits --model "$base" --input "$work/ids.safetensors" --output "$work/base.safetensors"
"$bin" logits --model "$base" --adapter "$work/run/adapter" --input "$work/ids.safetensors" --output "$work/adapted.safetensors"
"$bin" merge --model "$base" --adapter "$work/run/adapter" --output "$work/merged" --dtype float32
"$bin" logits --model "$work/merged" --input "$work/ids.safetensors" --output "$work/merged.safetensors"
"$python" "$here/peft_check.py" compare --model "$base" --adapter "$work/run/adapter" --merged "$work/merged" --ids "$work/ids.safetensors" \
  --base-logits "$work/base.safetensors" --adapter-logits "$work/adapted.safetensors" --merged-logits "$work/merged.safetensors"

echo "-- Hugging Face PEFT loads a folder of every method that it has, and computes the same logits"
rm -rf "$work/methods" "$work/bottleneck"
peer=$(cd "$work" && pwd)
(cd "$here/.." && ADAPTFLOW_PEER="$peer/methods" ADAPTFLOW_PEER_ADAPTERS="$peer/bottleneck" go test ./peft -count=1 -run '^TestPeerFolders$')
"$python" "$here/methods_check.py" "$work/methods"

echo "-- AdapterHub's adapters loads bottleneck adapters, and computes the same logits"
"$python" - "$work/lines.jsonl" <<'PY'
import json, sys
with open(sys.argv[1], "w") as f:
    for i in range(200):
        f.write(json.dumps({"text": "The open() system call number %d opens the file that path names, and returns a descriptor that read() takes: %d." % (i, 7 * i)}) + "\n")
PY
for config in double_seq_bn seq_bn par_bn compacter; do
  folder=$work/bottleneck/command_$config
  settings=(--set method=BOTTLENECK --set "method.config=$config" --set steps=8 --set sequence_length=64 --set learning_rate=0.01
    --set "input=$work/lines.jsonl" --set "eval_input=$work/lines.jsonl" --set "general_input=$work/lines.jsonl" --output "$work/run_$config")
  "$bin" train domain-adaptation "${settings[@]}"
  "$bin" export domain-adaptation "${settings[@]}"
  mkdir -p "$folder"
  cp -r "$work/run_$config/adapter" "$folder/adapter"
  "$bin" logits --model "$base" --adapter "$folder/adapter" --input "$work/ids.safetensors" --output "$folder/logits.safetensors"
  cp "$work/ids.safetensors" "$folder/ids.safetensors"
  printf '{"base": "%s"}\n' "$base" > "$folder/peer.json"
done
"$python" "$here/adapters_check.py" "$work/bottleneck"

echo "-- transformers and bitsandbytes load a quantised checkpoint"
for type in nf4 fp4 int8; do
  "$bin" quantize --model "$base" --quant-type $type --output "$work/quantized-$type"
  "$bin" logits --model "$work/quantized-$type" --input "$work/ids.safetensors" --output "$work/quantized-$type.safetensors"
  "$python" "$here/peft_check.py" quantized --quantized "$work/quantized-$type" --ids "$work/ids.safetensors" --logits "$work/quantized-$type.safetensors" \
    $([ $type = int8 ] && echo --limit 0.5)
done

echo "-- transformers and PEFT open a classifier and classify as adaptflow does"
rm -rf "$work/templates" && mkdir "$work/templates"
template() { # template NAME SETTING…: runs it and keeps its table
  local name=$1 settings=() s
  shift
  for s in "$@"; do settings+=(--set "$s"); done
  "$bin" run "$name" "${settings[@]}" --output "$work/templates/$name" > "$work/templates/$name.log" 2>&1 || { cat "$work/templates/$name.log"; return 1; }
}
template classification steps=40
"$python" - "$here/../templates/assets/files/banking77/valid.csv.zst" "$work/banking77.csv" <<'PY'
import pyarrow, sys
open(sys.argv[2], "wb").write(pyarrow.CompressedInputStream(sys.argv[1], "zstd").read())
PY
"$python" "$here/class_check.py" "$work/templates/classification" "$work/banking77.csv"

echo "-- transformers and PEFT open a reward model and score as adaptflow does"
"$python" - "$work/pairs.jsonl" "$work/pairs_held.jsonl" <<'PY'
import json, sys
for path, rows in ((sys.argv[1], range(48)), (sys.argv[2], range(48, 60))):
    with open(path, "w") as f:
        for i in rows:
            f.write(json.dumps({"prompt": "How many pages has manual %d?" % i, "chosen": " It has %d pages, and an index." % (i + 2),
                                "rejected": " Nobody knows that of number %d." % (7 * i)}) + "\n")
PY
rm -rf "$work/reward"
"$bin" run reward-model --set "input=$work/pairs.jsonl" --set "eval_input=$work/pairs_held.jsonl" --set steps=6 --set warmup_steps=1 --output "$work/reward"
"$python" "$here/reward_check.py" "$work/reward" "$work/pairs_held.jsonl"

echo "-- transformers finds the held-out perplexity of the embedded base within its limit"
"$python" "$here/base/check.py" "$base" "$here/../templates/assets/files/general_en/heldout.jsonl.zst" 55

echo "-- every template measures what it says it does"
template multilingual-adaptation steps=12 warmup_steps=2 max_sequences=1 chrf=2 max_new_tokens=12 batch_size=2
template continued-pretraining steps=8 warmup_steps=1 max_sequences=4
template distillation steps=8 warmup_steps=1 max_sequences=4
template instruction-tuning steps=12 warmup_steps=2 max_sequences=2 exact_match=4 max_new_tokens=12 batch_size=1
"$python" "$here/templates_check.py" "$work/templates"

echo "-- pyarrow and datasets read the shards and see the tokens of HF tokenizers"
"$python" - "$work/corpus.jsonl" <<'PY'
import json, random, sys
random.seed(5)
words = "the file descriptor is closed when épique 日本語 process exits; \t see open(2) 3.14 naïve\n".split(" ")
with open(sys.argv[1], "w", encoding="utf-8") as f:
    for i in range(300):
        f.write(json.dumps({"id": i, "text": " ".join(random.choice(words) for _ in range(random.randint(3, 900)))}, ensure_ascii=False) + "\n")
PY
"$bin" prepare domain-adaptation --set "input=$work/corpus.jsonl" --set "model=$base" --output "$work/prepared"
"$python" "$here/shards_check.py" "$work/prepared/shards" "$base/tokenizer.json" "$work/corpus.jsonl"

echo "-- transformers opens a model whose vocabulary was extended; new rows are the mean of their pieces"
rm -rf "$work/extended"
"$bin" tokenizer extend --model "$base" --input "$work/corpus.jsonl" --add 20 --min-frequency 3 --output "$work/extended"
"$python" "$here/tokenizer_check.py" --base "$base" --extended "$work/extended" --input "$work/corpus.jsonl"
