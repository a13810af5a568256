#!/usr/bin/env bash
# A Flink cluster whose workers share nothing with the driver but an S3 server: each worker has a mount namespace of its own, in which the
# driver's output, cache and temporary folders are empty. Adapters have the bytes of Prism on a local disk, also after a worker or a task
# manager was killed, with a server that throttles and fails, and after the driver was killed and another, with an empty cache, went on.
#   apart.sh ADAPTFLOW WORKDIR OBJECTSERVER [full]   without full: a run, one of two replicas, and one whose driver is lost
set -euo pipefail
bin=$1 work=$2 server=$3 all=${4:-}
mkdir -p "$work"
source "$(dirname "$0")/engines.sh"
unshare -m true 2> /dev/null || { echo "skipped: unshare -m is not permitted here"; exit 0; }
curl --help all | grep -q aws-sigv4 || { echo "skipped: this curl signs no requests for S3"; exit 0; }
dir=$work/flink shared=$work/shared home=$work/home
mkdir -p "$shared" "$home"
cp "$bin" "$shared/adaptflow"
"$server" -s3 localhost:0 -buckets bucket > "$work/server.log" 2>&1 &
serverpid=$!
trap '"$bin" flink down --dir "$dir" > /dev/null 2>&1 || true; kill $serverpid 2> /dev/null || true' EXIT
for _ in $(seq 100); do at=$(sed -n 's#^s3 http://##p' "$work/server.log"); [ -z "$at" ] || break; sleep 0.1; done
export AWS_ENDPOINT_URL=http://$at AWS_ACCESS_KEY_ID=key AWS_SECRET_ACCESS_KEY=secret AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
s3() { curl -sf --retry 9 --aws-sigv4 aws:amz:us-east-1:s3 --user key:secret "$@"; }
fault() { curl -sf -X POST "http://$at/-/faults?fault=$1"; }
for f in "$work"/part-*.jsonl; do s3 -T "$f" "http://$at/bucket/in/${f##*/}"; done
for n in 1 2 3; do
  awk -v n=$n 'BEGIN { for (i = 1; i <= 30; i++) printf "{\"prompt\": \"What does call %d of part %d do?\", \"completion\": \"It opens file %d and returns %d.\", \"user\": \"u%d\"}\n", i, n, i * n, i % 7, i % 5 }' \
    > "$work/rows-$n.jsonl"
  s3 -T "$work/rows-$n.jsonl" "http://$at/bucket/in/rows-$n.jsonl"
done

# What a worker sees: the program, Java, and a cache and temporary folder of its own.
cat > "$shared/worker" << END
#!/usr/bin/env bash
exec unshare -m bash -c 'for d in "$work/cache" "$work/tmp" "$work/local" "\${XDG_CACHE_HOME:-\$HOME/.cache}"; do [ ! -d "\$d" ] || mount -t tmpfs none "\$d"; done
export ADAPTFLOW_CACHE=$work/tmp/cache TMPDIR=$work/tmp; exec "$shared/adaptflow" "\$@"' worker "\$@"
END
chmod +x "$shared/worker"
mkdir -p "$work/cache" "$work/local"
aws=()
for v in AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION AWS_EC2_METADATA_DISABLED; do aws+=(--worker-env "$v"); done
endpoint=$("$bin" flink up --task-managers 2 --dir "$dir" "${aws[@]}" 2> "$work/up.log") || { cat "$work/up.log"; exit 1; }
export ADAPTFLOW_CACHE=$work/cache

text=(domain-adaptation "${corpus[@]}" --set save_steps=2 --set prepare.tokens_per_shard=512) # several shards that are scored
rows=(instruction-tuning --set data.eval_input=[] --set data.general_input=[] --set validation_fraction=0.1 --set sequence_length=64 --set save_steps=2
  --set export.merged=true)
keys=(personal-assistants --set key_column=user --set text_column=prompt --set validation_fraction=0.1 --set sequence_length=64 --set keys.group_keys=1 --set max_steps=20)
learn=(continual-learning --set increment_files=1 --set max_forgetting=9 --set max_domain_rise=-1 --set text_column=text --set validation_fraction=0.1
  --set sequence_length=64 --set max_steps=6 --set save_steps=2)
trials=(compare-methods "${corpus[@]}" --set "compare.methods=[LORA, IA3]" --set "compare.learning_rates=[0.001]" --set max_steps=6 --set save_steps=2)
far=(--runner flink --environment process --worker-program "$shared/worker" --endpoint "$endpoint")
begin() { # begin NAME TEMPLATE…: a run of the input on the server, in the background; its log is NAME.log
  local name=$1
  shift
  (exec "$bin" run "$@" --output "s3://bucket/$name" "${far[@]}" > "$work/$name.log" 2>&1) &
  driver=$!
}
ends() { # ends NAME WANT: the run ended well, with what workers wrote and measured: the bytes, and the numbers to the bit, of the local run WANT
  wait "$driver" || { tail "$work/$1.log"; exit 1; }
  local f
  for f in $(cd "$work/local/$2" && find adapter merged -type f 2> /dev/null); do
    s3 "http://$at/bucket/$1/$f" -o "$work/got"
    same "$work/local/$2/$f" "$work/got"
  done
  s3 "http://$at/bucket/$1/metrics.json" -o "$work/got"
  same <(measured "$work/local/$2/metrics.json") <(measured "$work/got")
}
measured() { python3 -c 'import json, sys; m = json.load(open(sys.argv[1])); print(json.dumps([m["eval"], m["samples"]], indent=1))' "$1"; }
manyend() { # manyend NAME WANT: a run of several adapters ended well, with the bytes of each in the local run WANT
  wait "$driver" || { tail "$work/$1.log"; exit 1; }
  local f n=0
  for f in "$work/local/$2"/adapters/*/adapter_{model.safetensors,config.json}; do
    s3 "http://$at/bucket/$1/${f#"$work/local/$2/"}" -o "$work/got"
    same "$f" "$work/got"
    n=$((n + 1))
  done
  [ $n -ge 4 ] || { echo "$n files of adapters were compared"; exit 1; }
}
learnt() { # learnt NAME WANT: continual learning ended well, with the history and the bytes of each version of the local run WANT
  wait "$driver" || { tail "$work/$1.log"; exit 1; }
  local f n=0
  for f in "$work/local/$2"/{history.json,current} "$work/local/$2"/versions/*/adapter_{model.safetensors,config.json}; do
    s3 "http://$at/bucket/$1/${f#"$work/local/$2/"}" -o "$work/got"
    same "$f" "$work/got"
    n=$((n + 1))
  done
  [ $n -gt 4 ] || { echo "$n files of versions were compared"; exit 1; }
}
there() { s3 -I "http://$at/bucket/$1" > /dev/null 2>&1; }
listed() { [[ $(s3 "http://$at/bucket?list-type=2&prefix=$1" 2> /dev/null) == *"$2"* ]]; } # listed PREFIX TEXT: of the names that begin so
await() { # await NAME WHAT COMMAND…: waits until the command succeeds, while the run of that name goes on
  local name=$1 what=$2
  shift 2
  for _ in $(seq 1200); do
    ! "$@" || return 0
    kill -0 "$driver" 2> /dev/null || { echo "the driver of $name ended before $what:"; tail "$work/$name.log"; exit 1; }
    sleep 0.1
  done
  echo "$name: no $what came"; exit 1
}
step() { await "$1" "the checkpoint of step $2" there "$1/.work/checkpoints/checkpoint-$(printf %06d "$2")/trainer_state.json"; } # step NAME N
key() { await "$1" "a trained key" listed "$1/adapters/" /metrics.json; }
trial() { await "$1" "a recorded trial" listed "$1/.work/stages/trial-" '<Key>'; }
step2() { step "$1" 2; }
increment() { await "$1" "an increment" there "$1/history.json"; }
locally() { local name=$1; shift; "$bin" run "$@" --output "$work/local/$name" > "$work/local-$name.log" 2>&1 || { tail "$work/local-$name.log"; exit 1; }; }
away() { printf '%s\n' "${@//$work\//s3://bucket/in/}"; } # the same arguments, of the input on the server

hardships="a server that throttles and fails, all workers, a task manager and the driver killed, another driver with an empty cache"
hard() { # hard NAME PROGRESS TEMPLATE…: a run that meets all hardships after its first PROGRESS; the second driver is left running
  local name=$1 progress=$2
  shift 2
  fault kind=throttle,every=11,times=40; fault kind=500,every=17,times=40
  begin "$name" "$@"; "$progress" "$name"
  pkill -9 -f "^$shared/adaptflow" || true # the cluster goes on with other workers
  killmanager
  sleep 2
  kill -9 "$driver"; wait "$driver" 2> /dev/null || true
  rm -rf "${work:?}/cache"; mkdir "$work/cache"
  sleep 32 # the lost driver's lease ends
  begin "$name" "$@"
}
killmanager() { kill -9 "$(sed -n '/"name": "task-manager-1"/{n;s/.*"pid": *\([0-9]*\).*/\1/p}' "$dir/state.json")" || { echo "there is no task manager to kill"; exit 1; }; }
mapfile -t textaway < <(away "${text[@]}")
locally plain "${text[@]}" --set steps=6
locally replicas "${text[@]}" --set steps=6 --set train.replicas=2
locally long "${text[@]}" --set steps=40
if [ "$all" = full ]; then
  locally rows "${rows[@]}" --set "input=$work/rows-*.jsonl" --set steps=12
  locally keys "${keys[@]}" --set "input=$work/rows-*.jsonl"
  locally trials "${trials[@]}"
  locally learn "${learn[@]}" --set "input=$work/part-*.jsonl"
fi

start=$SECONDS
begin plain "${textaway[@]}" --set steps=6; ends plain plain
echo "domain-adaptation: $((SECONDS - start)) s; adapter equal to Prism's on a local disk"
begin replicas "${textaway[@]}" --set steps=6 --set train.replicas=2; ends replicas replicas
echo "two replicas: equal"
if [ "$all" = full ]; then
hard rows step2 "${rows[@]}" --set "input=s3://bucket/in/rows-*.jsonl" --set steps=12; ends rows rows
echo "instruction-tuning, $hardships: equal"
hard keys key "${keys[@]}" --set "input=s3://bucket/in/rows-*.jsonl"
wait "$driver" || { tail "$work/keys.log"; exit 1; }
begin keys "${keys[@]}" --set "input=s3://bucket/in/rows-*.jsonl"; manyend keys keys
grep -q '^this run is finished' "$work/keys.log" || { echo "the run by key was not finished:"; cat "$work/keys.log"; exit 1; }
echo "personal-assistants, $hardships: equal"
hard learn increment "${learn[@]}" --set "input=s3://bucket/in/part-*.jsonl"; learnt learn learn
! grep -q '^increment 1: ' "$work/learn.log" || { echo "the second driver began anew:"; cat "$work/learn.log"; exit 1; }
echo "continual-learning, $hardships: equal"
begin trials "${trials[@]//$work\//s3://bucket/in/}"; trial trials
kill -9 "$driver"; wait "$driver" 2> /dev/null || true
rm -rf "${work:?}/cache"; mkdir "$work/cache"
sleep 32
begin trials "${trials[@]//$work\//s3://bucket/in/}"; manyend trials trials
! grep -q '^LORA, ' "$work/trials.log" || { echo "the second driver began anew:"; cat "$work/trials.log"; exit 1; }
echo "compare-methods, the driver killed, another with an empty cache: equal"
begin driverfiles "${text[@]}" --set steps=6; ends driverfiles plain
echo "input on the driver's disk alone: equal"

fault kind=throttle,every=11,times=-1; fault kind=500,every=17,times=-1
begin faults "${textaway[@]}" --set steps=6
wait "$driver" || { tail "$work/faults.log"; exit 1; }
curl -sf -X DELETE "http://$at/-/faults"
begin faults "${textaway[@]}" --set steps=6; ends faults plain
echo "a server that throttles and fails: equal"

begin worker "${textaway[@]}" --set steps=40; step worker 4
pkill -9 -f "^$shared/adaptflow" || { echo "there is no worker to kill"; exit 1; }
ends worker long
echo "workers were killed: equal"
begin manager "${textaway[@]}" --set steps=40; step manager 4
killmanager
ends manager long
echo "a task manager was killed: equal"
fi
begin driver "${textaway[@]}" --set steps=40; step driver 4
kill -9 "$driver"; wait "$driver" 2> /dev/null || true
rm -rf "${work:?}/cache"; mkdir "$work/cache"
sleep 32 # the lost driver's lease ends
begin driver "${textaway[@]}" --set steps=40; ends driver long
grep -q '^continuing from s3://' "$work/driver.log" || { echo "the second driver began anew:"; cat "$work/driver.log"; exit 1; }
echo "the driver was killed, another with an empty cache went on: equal"
