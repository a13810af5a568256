#!/usr/bin/env bash
# Which ports of the job servers that adaptflow brings up, and of the workers there, can other hosts connect to? None may be open: doors.sh tries
# them while a server comes up, while it runs a recipe, and while it goes down.
#   doors_engines.sh ADAPTFLOW WORKDIR
set -euo pipefail
bin=$1 work=$2 here=$(cd "$(dirname "$0")" && pwd)
source "$here/engines.sh"
cat > "$work/life.sh" <<'END'
# life.sh ADAPTFLOW WORKDIR ENGINE "ARGUMENTS OF UP" ARGUMENTS OF RUN…
set -euo pipefail
bin=$1 dir=$2/server engine=$3 up=$4 out=$2/run
shift 4
trap '"$bin" "$engine" down --dir "$dir" > /dev/null 2>&1' EXIT
endpoint=$("$bin" "$engine" up --dir "$dir" $up)
"$bin" run domain-adaptation --set steps=4 --set save_steps=2 --output "$out" --runner "$engine" --endpoint "$endpoint" "$@"
END
try() { # try NAME ENGINE "ARGUMENTS OF UP" ARGUMENTS OF RUN…
  local start=$SECONDS
  rm -rf "$work/$1"
  mkdir -p "$work/$1"
  LEAST=${least:-3} bash "$here/doors.sh" "$bin" "$work/$1" bash "$work/life.sh" "$bin" "$work/$1" "${@:2}" "${corpus[@]}"
  echo "$1: no door is open; $((SECONDS - start)) s"
}
try flink flink ""
try spark spark ""
least=10 try cluster flink "--task-managers 2" --environment process
