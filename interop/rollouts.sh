#!/usr/bin/env bash
# Runs the template grpo for a few rounds on Prism with one worker that samples, with four, and on a job server with an engine inside (Flink
# unless ENGINES names others, or none) with four; and kills it on Prism in the middle and runs it again. The adapters must have the same
# bytes. STEPS is the number of steps, a multiple of 4.
#   rollouts.sh ADAPTFLOW WORKDIR
set -euo pipefail
bin=$1 work=$2 steps=${STEPS:-8} engine=
mkdir -p "$work"
source "$(dirname "$0")/engines.sh"
trap '[ -z "$engine" ] || "$bin" $engine down --dir "$work/$engine" > /dev/null 2>&1 || true' EXIT
for n in 1 4; do
  cat > "$work/workers-$n.yaml" <<YAML
data: {general_input: []}
train:
  objective_args: {num_generations: 4, max_completion_length: 4, num_iterations: 2, beta: 0.05, rollout_workers: $n,
    reward_funcs: [{name: format, pattern: '^ \d+\n'}, {name: accuracy, by: number, before: "\n"}]}
  max_steps: $steps
  per_device_train_batch_size: 16
evaluate: {max_sequences: 8}
YAML
done
run() { # run NAME WORKERS [FLAG…]
  local name=$1 n=$2
  shift 2
  "$bin" run grpo --recipe "$work/workers-$n.yaml" --output "$work/$name" "$@" > "$work/$name.log" 2>&1 || { tail "$work/$name.log"; exit 1; }
}
equal() { same "$work/one/adapter/adapter_model.safetensors" "$work/$1/adapter/adapter_model.safetensors"; }
run one 1
run four 4
equal four
(exec "$bin" run grpo --recipe "$work/workers-1.yaml" --output "$work/killed" > "$work/killed.log" 2>&1) &
driver=$!
for _ in $(seq 1200); do
  [ ! -e "$work/killed/checkpoints/rollouts/round-$(printf %06d $((steps / 2))).parquet" ] || break
  kill -0 "$driver" 2> /dev/null || break
  sleep 0.05
done
kill -9 "$driver" 2> /dev/null || true
wait "$driver" 2> /dev/null || true
run killed 1
equal killed
for f in "$work"/one/checkpoints/rollouts/*; do same "$f" "$work/killed/checkpoints/rollouts/$(basename "$f")"; done
echo "grpo: one worker, four, and a run that was killed end with the same adapter"
for engine in ${ENGINES-flink}; do
  endpoint=$("$bin" "$engine" up ${UP:-} --dir "$work/$engine" 2> "$work/up.log") || { cat "$work/up.log"; exit 1; }
  run "$engine-run" 4 --runner "$engine" --endpoint "$endpoint"
  equal "$engine-run"
  "$bin" "$engine" down --dir "$work/$engine" > /dev/null 2>&1
  echo "grpo: $engine with four workers ends with Prism's adapter"
done
