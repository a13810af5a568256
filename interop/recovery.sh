#!/usr/bin/env bash
# What a disk and a clock do to a run. Rounds are killed, what replicas sent and kept and the rounds' states are truncated, and all files get times of another
# century: the same command ends with the bytes of an uninterrupted run. Continual learning finds the disk full at several moments, and a checkpoint truncated: each
# ends in one line that says what to do, and, once mended, the same command ends with the same bytes; this needs leave to mount a small file system in memory.
#   recovery.sh ADAPTFLOW WORKDIR
set -euo pipefail
bin=$1 work=$2
rm -rf "$work" && mkdir -p "$work/in" "$work/disk" "$work/tmp"
export TMPDIR=$work/tmp
settings=(--set replicas=2 --set train.mode=local --set train.local_steps=2 --set train.compression=int8 --set steps=48 --set save_steps=16 --set batch_size=1 --set sequence_length=64
  --set data.eval_input=[] --set data.general_input=[] --set validation_fraction=0.1 --set input=embedded:linux_man_en/valid.jsonl)
rounds() { "$bin" run domain-adaptation "${settings[@]}" --output "$1" > "$work/log" 2>&1; }
rounds "$work/rounds-whole" || { tail "$work/log"; exit 1; }
for year in 1999 2100; do
  out=$work/rounds-$year
  (exec "$bin" run domain-adaptation "${settings[@]}" --output "$out" > "$work/log" 2>&1) &
  pid=$!
  until [ -e "$out/checkpoints/rounds/round-000020/state.safetensors" ] || ! kill -0 "$pid" 2> /dev/null; do sleep 0.01; done
  kill -9 "$pid" 2> /dev/null || { echo "the rounds ended before they were killed"; exit 1; }
  wait "$pid" 2> /dev/null || true
  find "$out/checkpoints/rounds" -type f -exec truncate -s 700 {} +
  find "$out" -exec touch -d "$year-01-01T00:00:00" {} +
  rounds "$out" || { tail "$work/log"; exit 1; }
  cmp "$work/rounds-whole/adapter/adapter_model.safetensors" "$out/adapter/adapter_model.safetensors" || { echo "other bytes after a kill, truncated files and a clock of $year"; exit 1; }
  left=$(find "$out" -name '*.tmp-*'; find "$TMPDIR" -mindepth 1)
  [ -z "$left" ] || { echo "left behind: $left"; exit 1; }
done
echo "rounds killed, their files truncated, the clock in 1999 and 2100: the same bytes"

mount -t tmpfs -o size=1m none "$work/disk" 2> /dev/null || { echo "a full disk is skipped: no leave to mount a file system"; exit 0; }
trap 'umount "$work/disk"' EXIT
for i in 1 2; do
  awk -v i=$i 'BEGIN { for (j = 0; j < 60; j++) print "The call number " i * j " opens file " j ", and returns descriptor " (i + j) % 7 ", or an error that says why it is not there." }' > "$work/in/$i.txt"
done
run() {
  "$bin" run continual-learning --set "input=$work/in" --set general_input=embedded:linux_man_en/valid.jsonl --set sequence_length=64 --set max_steps=4 --set warmup_steps=1 --set save_steps=2 \
    --set max_sequences=16 --output "$1" > "$work/log" 2>&1
}
digest() { (cd "$1" && find versions replay heldout current history.json -type f | LC_ALL=C sort | xargs sha256sum | sha256sum); }
fails() { # fails WORDS: the run ends with exit code 1 and a last line that has the words
  local code=0
  run "$work/disk/out" || code=$?
  [ "$code" = 1 ] && tail -n 1 "$work/log" | grep -q "$1" || { echo "exit code $code, wanted: $1"; tail -n 3 "$work/log"; exit 1; }
}
run "$work/whole" || { tail "$work/log"; exit 1; }
for size in 600k 2m 4m; do
  mount -o remount,size=$size "$work/disk"
  fails "the disk is full or its quota is used up"
done
checkpoint=$work/disk/out/increments/0001/checkpoints/checkpoint-000002
truncate -s 1000 "$checkpoint/optimizer.safetensors"
mount -o remount,size=100m "$work/disk"
fails "checkpoint-000002/optimizer.safetensors: its checksum is not the one that the checkpoint was written with: delete the folder"
rm -r "$checkpoint"
run "$work/disk/out" || { tail "$work/log"; exit 1; }
[ "$(digest "$work/disk/out")" = "$(digest "$work/whole")" ] || { echo "other bytes after the disk was full"; exit 1; }
left=$(find "$work/disk" -name '*.tmp-*'; ls -A "$work/disk/out/increments"; find "$TMPDIR" -mindepth 1)
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
echo "a disk that was full three times and a truncated checkpoint: clear errors, then the same bytes"
