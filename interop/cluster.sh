#!/usr/bin/env bash
# A Flink cluster of one job manager and two task managers on this machine, whose task managers start the workers. A recipe's adapter and
# shards have the same bytes as on Prism, and so they have after a task manager was killed in mid-training at random moments, a worker, the
# job server or the driver; no process and no temporary file is left.
# UP holds flags of up: other versions (UP="--flink-version 1.19.3").
#   cluster.sh ADAPTFLOW WORKDIR [KILLS]
set -euo pipefail
bin=$1 work=$2 kills=${3:-2}
source "$(dirname "$0")/engines.sh"
dir=$work/cluster
trap '"$bin" flink down --dir "$dir" > /dev/null 2>&1 || true' EXIT
cp "$bin" "$work/adaptflow-worker" # workers are known by their program
program=$work/adaptflow-worker
export HF_TOKEN=kept-from-children AWS_SECRET_ACCESS_KEY=kept-from-children
RANDOM=${SEED:-$$}
echo "random moments of the seed ${SEED:-$$}"
up() { endpoint=$("$bin" flink up ${UP:-} --task-managers 2 --dir "$dir" 2> "$work/up.log") || { cat "$work/up.log"; exit 1; }; }
pid_of() { # pid_of NAME: of a process of the cluster
  sed -n "/\"name\": \"$1\"/{n;s/.*\"pid\": *\([0-9]*\).*/\1/p}" "$dir/state.json"
}
settings=("${corpus[@]}" --set steps=${STEPS:-160} --set save_steps=8 --set save_total_limit=2)
cluster=(--runner flink --environment process --worker-program "$program")
train() { "$bin" train domain-adaptation "${settings[@]}" --output "$@"; }
export_() { "$bin" export domain-adaptation "${settings[@]}" --output "$1" 2> "$work/export.log" || { cat "$work/export.log"; exit 1; }; }

train "$work/prism" 2> "$work/prism.log" || { tail "$work/prism.log"; exit 1; }
export_ "$work/prism"
equal() { export_ "$1"; same "$work/prism/adapter/adapter_model.safetensors" "$1/adapter/adapter_model.safetensors"; }

start=$SECONDS
up
echo "the cluster is up after $((SECONDS - start)) s"
start=$SECONDS
(cd "$work" && "$bin" prepare domain-adaptation "${settings[@]}" --output prepared "${cluster[@]}" --endpoint "$endpoint") 2> "$work/prepare.log" || { tail "$work/prepare.log"; exit 1; }
for f in $(cd "$work/prism" && find shards eval -name '*.parquet' 2> /dev/null | sort); do same "$work/prism/$f" "$work/prepared/$f"; done
# One whole run, its settings relative to the driver's folder.
cp -r "$work/prepared" "$work/whole"
sed -i "s#prepared/#whole/#g" "$work"/whole/stages/*.json
(cd "$work" && "$bin" train domain-adaptation "${settings[@]}" --output whole "${cluster[@]}" --endpoint "$endpoint") 2> "$work/whole.log" || { tail "$work/whole.log"; exit 1; }
equal "$work/whole"
grep -q "^step ${STEPS:-160} of" "$work/whole.log" || { echo "no progress was reported"; cat "$work/whole.log"; exit 1; }
echo "adapter and shards equal Prism's in bytes: $((SECONDS - start)) s"

begin() { # begin NAME: training starts in a folder of its own; it returns when a checkpoint is there, with a part of the steps to go
  out=$work/$1
  cp -r "$work/prepared" "$out"
  sed -i "s#prepared/#$out/#g" "$out"/stages/*.json
  (exec "$bin" train domain-adaptation "${settings[@]}" --output "$out" "${cluster[@]}" --endpoint "$endpoint" > "$out.log" 2>&1) &
  driver=$!
  for _ in $(seq 2400); do
    [ -z "$(find "$out/checkpoints" -name 'checkpoint-*' 2> /dev/null | head -n 1)" ] || break
    kill -0 "$driver" 2> /dev/null || { echo "the driver ended before a checkpoint:"; tail "$out.log"; exit 1; }
    sleep 0.05
  done
  sleep "0.$((RANDOM % 10))"
  at=$(find "$out/checkpoints" -name 'checkpoint-*' | sort | tail -n 1)
  at=${at##*-}
  [ "${at#000}" != "${STEPS:-160}" ] || { echo "training ended before anything was killed: raise STEPS"; exit 1; }
}
finish() { # finish WHAT: the driver ends well, with the same bytes
  local code=0
  wait "$driver" || code=$?
  [ "$code" = 0 ] || { echo "$1: the driver ended with $code"; tail "$out.log"; exit 1; }
  equal "$out"
  echo "$1 at step $at: the job finished after $((SECONDS - start)) s, bytes equal"
}
for i in $(seq "$kills"); do
  start=$SECONDS
  name=task-manager-$((RANDOM % 2 + 1))
  begin "kill-$i"
  kill -9 "$(pid_of $name)"
  finish "$name killed"
done

start=$SECONDS
begin worker
worker=$(pgrep -f "^$program --id" | head -n 1)
children=0
for pid in $(pgrep -f "adaptflow.jobserver=$dir |supervise --dir $dir |^$program --id"); do
  ! tr '\0' '\n' < "/proc/$pid/environ" | grep kept-from-children || { echo "process $pid has a secret: $(tr '\0' ' ' < "/proc/$pid/cmdline")"; exit 1; }
  children=$((children + 1))
done
[ "$children" -ge 6 ] || { echo "only $children processes of the cluster and its workers were found"; exit 1; }
kill -9 "$worker"
finish "worker killed"

start=$SECONDS
begin driver
kill -9 "$driver"
wait "$driver" 2> /dev/null || true
train "$out" "${cluster[@]}" --endpoint "$endpoint" > "$out.log" 2>&1 || { tail "$out.log"; exit 1; }
equal "$out"
echo "driver killed at step $at: the same command gave the same bytes after $((SECONDS - start)) s"

start=$SECONDS
begin server
kill -9 "$(pid_of job-server)"
code=0
wait "$driver" || code=$?
[ "$code" = 1 ] && tail -n 1 "$out.log" | grep -q "job server" || { echo "exit code $code of a run whose job server was killed:"; tail "$out.log"; exit 1; }
code=0
"$bin" flink status --dir "$dir" > /dev/null 2>&1 || code=$?
[ "$code" = 1 ] || { echo "status says $code of a cluster without its job server"; exit 1; }
"$bin" flink down --dir "$dir" 2> /dev/null
up
train "$out" "${cluster[@]}" --endpoint "$endpoint" > "$out.log" 2>&1 || { tail "$out.log"; exit 1; }
equal "$out"
echo "job server killed at step $at: a clear error, and the same bytes on another after $((SECONDS - start)) s"

"$bin" flink down --dir "$dir" 2> /dev/null
sleep 1
! pgrep -af "adaptflow.jobserver=$dir |supervise --dir $dir |^$program " || { echo "a process is left"; exit 1; }
left=$(find "$dir" -type f ! -name '*.log' ! -name .adaptflow.lock; find "$TMPDIR" -type f; find "$work"/*/ -name '*.tmp*')
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
