#!/usr/bin/env bash
# serve.sh ADAPTFLOW PYTHON DIR: starts adaptflow serve on a free port with two adapters that are trained for a few steps, and asks it with the
# real openai and langchain-openai clients of that Python. Some minutes on two processors.
set -euo pipefail
bin=$1 python=$2 dir=$3 here=$(dirname "$0")
mkdir -p "$dir"
for n in 1 2; do
  [ -d "$dir/run$n/adapter" ] || "$bin" run domain-adaptation --output "$dir/run$n" --set steps=3 --set seed=$n >"$dir/run$n.log" 2>&1
done
"$bin" serve --listen 127.0.0.1:0 --api-key sk-check --adapter "one=$dir/run1" --adapter "two=$dir/run2" >"$dir/out" 2>"$dir/err" &
pid=$!
trap 'kill $pid 2>/dev/null || true' EXIT
for _ in $(seq 1 120); do grep -q "listening on" "$dir/out" && break; kill -0 $pid || { cat "$dir/err"; exit 1; }; sleep 0.5; done
url=$(sed -n 's/^listening on //p' "$dir/out")
"$python" "$here/openai_check.py" "$url" sk-check lm-en-5m one two
"$python" "$here/langchain_check.py" "$url" sk-check lm-en-5m one two
kill -TERM $pid
wait $pid || { echo "the server ended with $?"; cat "$dir/err"; exit 1; }
trap - EXIT
echo "serve: both clients agree, and the server ended by itself"
