#!/usr/bin/env bash
# serve.sh ADAPTFLOW CACHE DIR [ROWS [PEERS_PYTHON]]: trains two adapters for a few steps, starts adaptflow serve with them on a free port, and asks
# it with the real openai and langchain-openai clients and lm-evaluation-harness (so many rows a task, 10 where it isn't said; 100 is all), whose
# results are held against those of its own backend hf, where an interpreter with torch, transformers and peft is given. CACHE keeps the
# clients' environment.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$(realpath "$1") cache=$2 rows=${4:-10} peers=${5:-}
mkdir -p "$cache" "$3"
dir=$(cd "$3" && pwd)
key=$(sha256sum "$here/requirements-serve.txt" | cut -c1-12)
venv=$(cd "$cache" && pwd)/serve-$key
if [ ! -e "$venv/ready" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --no-input -r "$here/requirements-serve.txt"
  touch "$venv/ready"
fi
python=$venv/bin/python
export HF_HUB_OFFLINE=1 HF_DATASETS_CACHE=$dir/datasets OPENAI_API_KEY=sk-check TOKENIZERS_PARALLELISM=false LANGSMITH_TRACING=false

echo "-- two adapters"
"$python" "$here/lm_eval_check.py" data "$dir"
settings=(--set steps=12 --set sequence_length=64 --set learning_rate=0.01 --set warmup_steps=2)
for n in 1 2; do
  "$python" - "$dir/data/$([ $n = 1 ] && echo sums || echo rolling).jsonl" "$dir/corpus$n.jsonl" <<'PY'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
with open(sys.argv[2], "w", encoding="utf-8") as f:
    f.writelines(json.dumps({"text": r.get("page") or f"Question: {r['question']}\nAnswer: {r['answer']}"}) + "\n" for r in rows)
PY
  of=("${settings[@]}" --set "input=$dir/corpus$n.jsonl" --set "eval_input=$dir/corpus$n.jsonl" --set "general_input=$dir/corpus$n.jsonl" --output "$dir/run$n")
  [ -d "$dir/run$n/adapter" ] || { "$bin" train domain-adaptation "${of[@]}" && "$bin" export domain-adaptation "${of[@]}"; } > "$dir/run$n.log" 2>&1 ||
    { cat "$dir/run$n.log"; exit 1; }
done
base=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["base_model_name_or_path"])' "$dir/run1/adapter/adapter_config.json")

"$bin" serve --listen 127.0.0.1:0 --api-key sk-check --adapter "one=$dir/run1" --adapter "two=$dir/run2" > "$dir/out" 2> "$dir/err" &
pid=$!
trap 'kill $pid 2> /dev/null || true' EXIT
for _ in $(seq 1 240); do
  grep -q "listening on" "$dir/out" && break
  kill -0 $pid || { cat "$dir/err"; exit 1; }
  sleep 0.25
done
url=$(sed -n 's/^listening on //p' "$dir/out")

echo "-- openai and langchain-openai"
"$python" "$here/openai_check.py" "$url" sk-check lm-en-5m one two
"$python" "$here/langchain_check.py" "$url" sk-check lm-en-5m one two
"$python" "$here/../examples/langchain/route.py" "$url" sk-check one two lm-en-5m

echo "-- what is served is what generate says, with each adapter"
"$python" "$here/generate_check.py" "$url" sk-check "$bin" "one=$dir/run1/adapter" "two=$dir/run2/adapter"

echo "-- lm-evaluation-harness"
at=base_url=$url/v1
more=num_concurrent=4,batch_size=8,max_length=1024,tokenizer_backend=remote,auth_token=sk-check,max_retries=1
ask() { # ask PYTHON OUT MODEL ARGS [chat]
  "$1" "$here/lm_eval_check.py" ask "$dir" "$2" "$rows" "${@:3}" > "$dir/$2.log" 2>&1 || { tail -n 40 "$dir/$2.log"; return 1; }
}
ask "$python" one.json local-completions "model=one,$at/completions,$more"
ask "$python" chat-one.json local-chat-completions "model=one,$at/chat/completions,num_concurrent=4,max_length=1024,max_retries=1"
if [ -n "$peers" ]; then
  PYTHONPATH=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  export PYTHONPATH OMP_NUM_THREADS=1 # the model is small, and threads that wait for each other are slow where others work
  ask "$peers" hf.json hf "pretrained=$base,peft=$dir/run1/adapter,dtype=float32" chat
  unset PYTHONPATH
  "$python" "$here/lm_eval_check.py" compare "$dir" hf.json one.json
  "$python" "$here/lm_eval_check.py" compare "$dir" chat-hf.json chat-one.json
fi

kill -TERM $pid
wait $pid || { echo "the server ended with $?"; cat "$dir/err"; exit 1; }
trap - EXIT
echo "serve: the clients and the harness agree, and the server ended by itself"
