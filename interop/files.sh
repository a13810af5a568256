#!/usr/bin/env bash
# Pipelines of Beam's Python SDK and of Beam YAML before and after adaptflow, by files: both write the same pages as JSONL, adaptflow makes
# shards of them, and a pipeline reads the shards. Both ways must give the same shards, and every document must come back.
#   files.sh ADAPTFLOW WORKDIR [PYTHON]    PYTHON has apache-beam[yaml]; without it nothing is run
set -euo pipefail
bin=$1 work=$2 python=${3:-python3}
here=$(cd "$(dirname "$0")/files" && pwd)
"$python" -c 'import apache_beam.yaml.main' 2> /dev/null || { echo "skipped: $python has no apache-beam[yaml]"; exit 0; }
mkdir -p "$work/python" "$work/yaml"
"$python" "$here/write.py" "$work/python" > "$work/python.log" 2>&1 || { tail "$work/python.log"; exit 1; }
"$python" -m apache_beam.yaml.main --yaml_pipeline_file="$here/write.yaml" --jinja_variables="{\"out\": \"$work/yaml\"}" > "$work/yaml.log" 2>&1 || { tail "$work/yaml.log"; exit 1; }
for from in python yaml; do
  cat "$work/$from"/pages*  | sort > "$work/$from.jsonl"
  [ "$(wc -l < "$work/$from.jsonl")" = 200 ] || { echo "$from wrote $(wc -l < "$work/$from.jsonl") pages"; exit 1; }
  "$bin" run domain-adaptation --set steps=2 --set "input=$work/$from/pages*" --set format=jsonl --set data.eval_input=[] --set data.general_input=[] \
    --set validation_fraction=0.1 --set sequence_length=64 --output "$work/$from-run" > "$work/$from-run.log" 2>&1 || { tail "$work/$from-run.log"; exit 1; }
  "$python" "$here/read.py" "$work/$from-run/shards" "$work/$from-documents.tsv" > "$work/read.log" 2>&1 || { tail "$work/read.log"; exit 1; }
  [ "$(wc -l < "$work/$from-documents.tsv")" = 200 ] || { echo "of 200 documents of $from $(wc -l < "$work/$from-documents.tsv") came back"; exit 1; }
done
cmp <(cut -f 2 "$work/python-documents.tsv" | sort -n) <(cut -f 2 "$work/yaml-documents.tsv" | sort -n)
echo "files between pipelines: 200 pages of Beam's Python SDK and of Beam YAML went through adaptflow, and all came back from its shards"
