#!/usr/bin/env bash
# Continual learning over ten increments of the Linux manual (those that are embedded) and a poisoned one in their midst. After kills at random moments, each
# followed by the same command, history, adapters, pointer and reservoir have the bytes of an uninterrupted run; the domain improves at each increment and
# general text stays within its limit; the poisoned increment is rolled back; a file that comes later is taken by the same command, one whose time has changed
# is not taken again. The base is its own teacher, which keeps general text.
#   continual.sh ADAPTFLOW WORKDIR KILLS
set -euo pipefail
bin=$1 work=$2 kills=$3
rm -rf "$work" && mkdir -p "$work/in" "$work/tmp"
export TMPDIR=$work/tmp
# A spammer's file: one word, again and again.
awk 'BEGIN { for (i = 0; i < 60; i++) { for (j = 0; j < 400; j++) printf "the "; print i } }' > "$work/in/05-poison.txt"
args=(run continual-learning --set "input=embedded:linux_man_increments,$work/in" --set eval_input=embedded:linux_man_en/valid.jsonl --set sequence_length=128 --set max_steps=16 --set batch_size=4
  --set warmup_steps=2 --set learning_rate=0.001 --set max_sequences=64 --set save_steps=8 --set replay_sequences=256 --set max_forgetting=0.15 --set max_domain_rise=0.02
  --set teacher=embedded:lm-en-5m --set distillation_alpha=0.3 --output)
run() { "$bin" "${args[@]}" "$@"; }
digest() { (cd "$1" && find versions replay current history.json -type f | LC_ALL=C sort | xargs sha256sum | sha256sum); }

start=$(date +%s%N)
run "$work/whole" 2> "$work/whole.log" || { tail "$work/whole.log"; exit 1; }
ms=$((($(date +%s%N) - start) / 1000000))
want=$(digest "$work/whole")
echo "ten increments and a poisoned one take $ms ms"
python3 - "$work/whole/history.json" <<'PY'
import json, sys
h = json.load(open(sys.argv[1]))
last, limit = h["base"]["domain"]["perplexity"], h["general_perplexity_limit"]
assert len(h["increments"]) == 11, len(h["increments"])
for x in h["increments"]:
    domain, general = x["after"]["domain"]["perplexity"], x["after"]["general"]["perplexity"]
    if x["files"][0]["name"] == "05-poison.txt":
        assert x["decision"] == "rolled_back" and "perplexity" in x["reason"], x
        print("poisoned: %s" % x["reason"])
        continue
    assert x["decision"] == "accepted", x
    assert domain < last and general <= limit, x
    last = domain
print("domain perplexity %.2f -> %.2f, general %.2f -> %.2f, limit %.2f" % (h["base"]["domain"]["perplexity"], last, h["base"]["general"]["perplexity"], general, limit))
PY
[ "$(cat "$work/whole/current")" = versions/0011 ] && [ ! -e "$work/whole/versions/0005" ] && [ ! -e "$work/whole/increments/0011" ]

RANDOM=${SEED:-1729}
for _ in $(seq "$kills"); do
  # exec, so that $! is the program itself and not a shell around it.
  (exec "$bin" "${args[@]}" "$work/killed" > "$work/killed.log" 2>&1) &
  pid=$!
  at=$(((RANDOM * 32768 + RANDOM) % (ms / (kills + 1)) + 300))
  sleep "$(printf '%d.%03d' $((at / 1000)) $((at % 1000)))"
  kill -9 "$pid" 2> /dev/null || true
  wait "$pid" 2> /dev/null || true
  echo "killed after $at ms in: $(grep '^increment' "$work/killed.log" | tail -n 1 | cut -d: -f1)"
done
run "$work/killed" > "$work/killed.log" 2>&1 || { tail "$work/killed.log"; exit 1; }
[ "$(digest "$work/killed")" = "$want" ] || { echo "after $kills kills: other bytes"; diff "$work/whole/history.json" "$work/killed/history.json" || true; exit 1; }
left=$(find "$work/killed" -name '*.tmp*'; ls -A "$work/killed/increments"; find "$TMPDIR" -mindepth 1)
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
echo "$kills kills, each followed by the same command: the same bytes"

touch -d '1999-01-01' "$work/in/05-poison.txt" # a clock that moved is not a new file
head -n 5 "$(find "${ADAPTFLOW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/adaptflow}" -path '*linux_man_en*/train.jsonl' | head -n 1)" > "$work/in/later.jsonl"
run "$work/killed" --watch 1s --until-idle 1s > "$work/later.log" 2>&1 || { tail "$work/later.log"; exit 1; }
grep -c '^increment [0-9]*: ' "$work/later.log" | grep -qx 1 && grep -q '^increment 12: later.jsonl' "$work/later.log" || { cat "$work/later.log"; exit 1; }
echo "a file that came later was taken by the same command, and no other again"
