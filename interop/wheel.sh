#!/usr/bin/env bash
# wheel.sh ADAPTFLOW DIR TIER: the wheel that holds the program, installed in a fresh environment and run with nothing around it: no variables, an
# empty home, no search path. In full it is built from source, for every system.
set -euo pipefail
adaptflow=$1 dir=$2 tier=$3
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$dir/home"
if [ "$tier" = full ]; then
  "$here/deploy/pypi/build.sh" "$dir/dist" linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64
else
  ADAPTFLOW_BINARY=$adaptflow "$here/deploy/pypi/build.sh" "$dir/dist"
fi
python3 -m venv "$dir/fresh"
"$dir/fresh/bin/pip" install -q --no-input --no-index --find-links "$dir/dist" adaptflow
cd "$dir/home"
bare() { env -i HOME="$dir/home" "$dir/fresh/bin/adaptflow" "$@"; }
bare version
bare licenses | grep -c '^[^ ]* v[0-9].*: ' | sed 's/$/ modules with their licences/'
bare run domain-adaptation --set steps=4 --set warmup_steps=1 --set evaluate.max_sequences=8 --output "$dir/home/out" > "$dir/run.txt" 2>&1 ||
  { cat "$dir/run.txt"; exit 1; }
[ -s "$dir/home/out/adapter/adapter_model.safetensors" ] || { echo "the run left no adapter:"; ls -R "$dir/home/out" | head -n 40; exit 1; }
tail -n 4 "$dir/run.txt"
