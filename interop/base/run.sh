#!/usr/bin/env bash
# Continues the embedded base model (README.md): run.sh ADAPTFLOW BASE DATA OUT
#   ADAPTFLOW  the program
#   BASE       the model to continue, lm-en-5m as it was pretrained
#   DATA       the project's data (data.py says which of it is read)
#   OUT        a folder for texts, runs and the model, OUT/lm-en-continued; a run that was interrupted goes on
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
adaptflow=$(realpath "$1") base=$(realpath "$2") data=$(realpath "$3")
mkdir -p "$4"
cd "$4"

[ -e text/openings.jsonl ] || python3 "$here/data.py" "$data" text
[ -e text/rehearsal.jsonl ] || "$adaptflow" generate --model "$base" --prompts text/openings.jsonl --samples 48 --temperature 1 --max-new-tokens 240 --output text/rehearsal.jsonl

# Teachers: the same training three times, with other seeds, lengths, rates and texts, so that their errors differ.
teacher() {
  local name=$1 settings=() s
  shift
  for s in "$@"; do settings+=(--set "$s"); done
  "$adaptflow" run continued-pretraining --recipe "$here/teacher.yaml" --output "runs/$name" --set "model=$base" "${settings[@]}"
  [ -e "$name/config.json" ] || "$adaptflow" merge --model "$base" --adapter "runs/$name/adapter" --output "$name"
}
teacher teacher-1 seed=7
teacher teacher-2 seed=11 sequence_length=512 batch_size=8
teacher teacher-3 seed=13 steps=900 learning_rate=0.001 input=text/replay.jsonl,text/gpt_roleplay.jsonl,text/gpt_toolformer.jsonl,text/handbook.jsonl,text/self.jsonl

# The student starts from the first of them and learns the mean of their distributions.
"$adaptflow" run distillation --recipe "$here/student.yaml" --output runs/student --set "model=$PWD/teacher-1" --set "teacher=$PWD/teacher-1,$PWD/teacher-2,$PWD/teacher-3"
[ -e lm-en-continued/config.json ] || "$adaptflow" merge --model teacher-1 --adapter runs/student/adapter --dtype float16 --output lm-en-continued
