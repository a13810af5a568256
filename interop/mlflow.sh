#!/usr/bin/env bash
# A training is reported to MLflow's own tracking server: interop/mlflow.sh ADAPTFLOW PYTHON, where PYTHON has the package mlflow. Every step and evaluation must be there
# once, the parameters with them, and the run finished.
set -euo pipefail
bin=$(realpath "$1") python=$2 work=$(mktemp -d) port=5077
setsid "$python" -m mlflow server --host 127.0.0.1 --port $port --backend-store-uri "sqlite:///$work/m.db" --default-artifact-root "$work/artifacts" > "$work/server.log" 2>&1 &
server=$!
trap 'kill -- -$server 2> /dev/null || true; wait $server 2> /dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 120); do curl -sf "http://127.0.0.1:$port/health" > /dev/null && break; sleep 0.5; done
export MLFLOW_TRACKING_URI=http://127.0.0.1:$port MLFLOW_EXPERIMENT_NAME=trials
"$bin" run domain-adaptation --output "$work/run" --set steps=12 --set eval_steps=6 --set save_steps=6 --set train.report_to=tensorboard,mlflow --set max_sequences=4 \
  --set max_new_tokens=4 --set sequence_length=64 > "$work/run.log" 2>&1 || { tail "$work/run.log"; exit 1; }
"$python" - "$work/run" <<'PY'
import json, sys
from mlflow.tracking import MlflowClient
client = MlflowClient()
runs = client.search_runs([client.get_experiment_by_name("trials").experiment_id])
assert len(runs) == 1, runs
run = runs[0]
assert run.info.status == "FINISHED" and run.data.params["max_steps"] == "12" and run.data.params["method.peft_type"] == "LORA", run
lines = [json.loads(l) for l in open(sys.argv[1] + "/metrics.jsonl")]
for key in ("train/loss", "eval/loss", "train/learning_rate"):
    got = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]
    want = [(l["step"], l[key]) for l in lines if key in l]
    assert got == want and want, (key, got, want)
print(f"MLflow has all of {len(lines)} rows")
PY
