#!/usr/bin/env bash
# Kills a run with SIGKILL at random moments and starts the same command again each time. The final adapter must have the
# bytes of an uninterrupted run's, with one thread and with two.
#   kill.sh ADAPTFLOW WORKDIR KILLS [TEMPLATE [SETTING…]]     domain-adaptation of 60 steps, or a template with settings
set -euo pipefail
bin=$1 work=$2 kills=$3
template=(domain-adaptation --set steps=60 --set save_steps=5)
if [ $# -gt 3 ]; then
  template=("$4")
  for s in "${@:5}"; do template+=(--set "$s"); done
fi
mkdir -p "$work/tmp"
export TMPDIR=$work/tmp # what a run leaves in the folder of temporary files is seen
run() { "$bin" run "${template[@]}" --output "$1" "${@:2}"; }
digest() { sha256sum "$1/adapter/adapter_model.safetensors" | cut -d' ' -f1; }

start=$(date +%s%N)
run "$work/whole" 2> "$work/whole.log" > /dev/null
ms=$((($(date +%s%N) - start) / 1000000))
want=$(digest "$work/whole")
echo "an uninterrupted run takes $ms ms: $want"

GOMAXPROCS=1 run "$work/one" 2> /dev/null > /dev/null
[ "$(digest "$work/one")" = "$want" ] || { echo "one thread gives other bytes"; exit 1; }

RANDOM=${SEED:-1729}
done=0
while [ "$done" -lt "$kills" ]; do
  if [ -e "$work/killed/adapter/adapter_model.safetensors" ]; then # finished before the last kill: begin a new run
    [ "$(digest "$work/killed")" = "$want" ] || { echo "after $done kills: other bytes"; exit 1; }
    rm -rf "$work/killed"
  fi
  # exec, so that $! is the program itself and not a shell around it.
  (exec "$bin" run "${template[@]}" --output "$work/killed" > "$work/killed.log" 2>&1) &
  pid=$!
  wait_ms=$((RANDOM * 32768 + RANDOM))
  wait_ms=$((wait_ms % (ms * 2 / 5) + 50))
  sleep "$(printf '%d.%03d' $((wait_ms / 1000)) $((wait_ms % 1000)))"
  if kill -9 "$pid" 2> /dev/null; then done=$((done + 1)); fi
  wait "$pid" 2> /dev/null || true
done
run "$work/killed" > "$work/killed.log" 2>&1 || { tail -n 20 "$work/killed.log"; exit 1; }
[ "$(digest "$work/killed")" = "$want" ] || { echo "after $kills kills: other bytes"; exit 1; }
left=$(find "$work/killed" -name '*.tmp*'; find "$TMPDIR" -mindepth 1)
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
echo "$kills kills, each followed by the same command: the same bytes; no temporary file is left"
