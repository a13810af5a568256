#!/usr/bin/env bash
# What a disk does to a run, here of continual learning: it is full at several moments, and a checkpoint is truncated. Each ends in one line that says what to do,
# and, once mended, the same command ends with the bytes of an uninterrupted run. Needs leave to mount a small file system in memory.
#   recovery.sh ADAPTFLOW WORKDIR
set -euo pipefail
bin=$1 work=$2
rm -rf "$work" && mkdir -p "$work/in" "$work/disk" "$work/tmp"
export TMPDIR=$work/tmp
mount -t tmpfs -o size=1m none "$work/disk" 2> /dev/null || { echo "skipped: no leave to mount a file system"; exit 0; }
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
