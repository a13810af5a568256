#!/usr/bin/env bash
# Runs a recipe on Prism and on a job server with an engine inside (Flink unless ENGINES names others), brought up from Maven without
# Docker. The adapter and the shards must have the same bytes; a job that fails must say why; an interrupted run must continue; and
# neither a process nor a temporary file may be left.
# UP holds flags of up: other versions (UP="--flink-version 1.19.3").
#   flink.sh ADAPTFLOW WORKDIR
set -euo pipefail
bin=$1 work=$2
source "$(dirname "$0")/engines.sh"
engine=flink
trap '"$bin" $engine down --dir "$work/$engine" > /dev/null 2>&1 || true' EXIT
equal() { # equal FOLDER FOLDER: adapters, shards and evaluation sets
  local f
  same "$1/adapter/adapter_model.safetensors" "$2/adapter/adapter_model.safetensors"
  for f in $(cd "$1" && find shards eval -name '*.parquet' 2> /dev/null | sort); do same "$1/$f" "$2/$f"; done
}
small=("${corpus[@]}" --set steps=6 --set save_steps=2)
for engine in ${ENGINES:-flink}; do
  start=$SECONDS
  endpoint=$("$bin" "$engine" up ${UP:-} --dir "$work/$engine" 2> "$work/up.log") || { cat "$work/up.log"; exit 1; }
  [ "$("$bin" "$engine" status --dir "$work/$engine" 2> /dev/null)" = "$endpoint" ]
  pid=$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$work/$engine/state.json")
  # The checked-in class by which the servers listen on the loopback address is its source's.
  jars=$(tr '\0' '\n' < "/proc/$pid/cmdline" | sed -n 's#.*:\(/.*\)/\*$#\1#p')
  if javac -version 2> /dev/null | grep -q '^javac 17'; then
    bash "$(dirname "$0")/../pipelines/runners/jobserver/loopback/build.sh" "$jars" "$work/loopback.jar"
    cmp "$work/loopback.jar" "$(dirname "$0")/../pipelines/runners/jobserver/loopback/loopback.jar" || { echo "loopback.jar is not its source's: pipelines/runners/jobserver/loopback/build.sh $jars"; exit 1; }
  fi
  echo "$engine is up after $((SECONDS - start)) s: $("$bin" "$engine" status --dir "$work/$engine" 2>&1 > /dev/null | sed -n 's/^ *\(Beam .* with .*\)/\1/p')"
  run() { "$bin" run domain-adaptation "${settings[@]}" --output "$@"; }
  for replicas in 1 2; do
    settings=("${small[@]}" --set train.replicas=$replicas)
    [ -e "$work/prism-$replicas/adapter" ] || # Beam's Prism leaves an empty file a job, which is not what this is about
      run "$work/prism-$replicas" 2> "$work/prism.log" > /dev/null || { tail "$work/prism.log"; exit 1; }
    start=$SECONDS
    run "$work/$engine-$replicas" --runner "$engine" --endpoint "$endpoint" 2> "$work/run.log" > /dev/null || { tail "$work/run.log"; exit 1; }
    grep -q '^step 6 of 6: loss' "$work/run.log" || { echo "no progress was reported on $engine"; cat "$work/run.log"; exit 1; }
    equal "$work/prism-$replicas" "$work/$engine-$replicas"
    echo "$engine, $replicas replicas: $((SECONDS - start)) s; adapter and $(find "$work/$engine-$replicas"/shards -name '*.parquet' | wc -l) shards equal Prism's in bytes"
  done

  # The driver is killed after its first checkpoint; the same command ends with the same bytes.
  settings=("${small[@]}")
  (exec "$bin" run domain-adaptation "${settings[@]}" --output "$work/$engine-killed" --runner "$engine" --endpoint "$endpoint" > "$work/killed.log" 2>&1) &
  driver=$!
  for _ in $(seq 1200); do
    [ -z "$(find "$work/$engine-killed/checkpoints" -name 'checkpoint-*' 2> /dev/null | head -n 1)" ] || break
    kill -0 "$driver" 2> /dev/null || break
    sleep 0.05
  done
  kill -9 "$driver" 2> /dev/null || true
  wait "$driver" 2> /dev/null || true
  run "$work/$engine-killed" --runner "$engine" --endpoint "$endpoint" > "$work/killed.log" 2>&1 || { tail "$work/killed.log"; exit 1; }
  equal "$work/prism-1" "$work/$engine-killed"
  echo "$engine: the driver was killed, the same command gave the same bytes"

  # A job that fails in a DoFn: the cause is reported as on Prism. A file stands where the checkpoint's folder has to.
  cp -r "$work/prism-1" "$work/$engine-fails"
  (cd "$work/$engine-fails" && rm -rf adapter metrics.json stages/after.json checkpoints/* && touch checkpoints/checkpoint-000004)
  sed -i "s#$work/prism-1#$work/$engine-fails#g" "$work/$engine-fails"/stages/*.json
  code=0
  run "$work/$engine-fails" --runner "$engine" --endpoint "$endpoint" > /dev/null 2> "$work/fails.log" || code=$?
  [ "$code" = 1 ] && tail -n 1 "$work/fails.log" | grep -q 'checkpoint-000004: not a directory' || { echo "exit code $code of a job that fails:"; cat "$work/fails.log"; exit 1; }
  grep -q 'is tried again (3 of 3)' "$work/fails.log" || { echo "the driver did not try again:"; cat "$work/fails.log"; exit 1; }
  rm "$work/$engine-fails/checkpoints/checkpoint-000004"
  run "$work/$engine-fails" --runner "$engine" --endpoint "$endpoint" > "$work/fails.log" 2>&1 || { tail "$work/fails.log"; exit 1; }
  equal "$work/prism-1" "$work/$engine-fails"
  echo "$engine: a failed job told its cause; without the cause, the same command gave the same bytes"

  # The job server goes away: a clear error, and the run continues on another.
  "$bin" "$engine" down --dir "$work/$engine" 2> /dev/null
  # A zombie, which the machine's first process has not reaped yet, is not a process left: its command line is empty.
  ! tr '\0' ' ' < "/proc/$pid/cmdline" 2> /dev/null | grep -q java || { echo "process $pid of the $engine job server is left"; exit 1; }
  code=0
  run "$work/$engine-lost" --runner "$engine" --endpoint "$endpoint" > /dev/null 2> "$work/lost.log" || code=$?
  [ "$code" = 1 ] && grep -q "no job server answers at $endpoint" "$work/lost.log" || { echo "exit code $code of a run without a job server:"; cat "$work/lost.log"; exit 1; }
  code=0
  "$bin" "$engine" status --dir "$work/$engine" > /dev/null 2>&1 || code=$?
  [ "$code" = 1 ] || { echo "status says $code of a server that is down"; exit 1; }
  left=$(find "$work/$engine" -type f ! -name server.log ! -name .adaptflow.lock; find "$TMPDIR" -type f; find "$work/$engine"-*/ -name '*.tmp*')
  [ -z "$left" ] || { echo "left behind: $left"; exit 1; }
done
