#!/usr/bin/env bash
# Which ports of a command's processes can other hosts connect to? None may be open. A second network namespace, joined by a pair of
# virtual interfaces, stands for the other host: it tries every listening port of the process tree every 100 ms (interop/doors).
# The same probe must find control listeners first. Needs root (or CAP_SYS_ADMIN and CAP_NET_ADMIN) and iproute2, and fails without;
# ADAPTFLOW_DOORS=skip leaves the check out where they are missing.
#   doors.sh ADAPTFLOW WORKDIR               a small run on Prism
#   doors.sh ADAPTFLOW WORKDIR COMMAND…      any other command, such as
#                                            bash -c 'adaptflow flink up …; adaptflow run …; adaptflow flink down …'
# Of COMMAND nothing but its exit code is judged. LEAST is how many listening sockets must have been seen, 1 unless set; EVERY how often
# they are tried, 100ms unless set.
set -euo pipefail
bin=$1 work=$2
shift 2
mkdir -p "$work"
ns=doors-$$ link=door$$
cannot() {
  echo "doors: $1: without a second network namespace nothing can be tried" >&2
  [ "${ADAPTFLOW_DOORS:-}" != skip ] || { echo "skipped: doors"; exit 0; }
  exit 2
}
command -v ip > /dev/null || cannot "no ip (iproute2)"
ip netns add "$ns" 2> "$work/netns.log" || cannot "ip netns add: $(tail -n 1 "$work/netns.log")"
trap 'ip link del "$link" 2> /dev/null || true; ip netns del "$ns" 2> /dev/null || true' EXIT
third=$(($$ % 256)) fourth=$(($$ / 256 % 64 * 4))
ip link add "$link" type veth peer name "${link}p" netns "$ns" 2> "$work/netns.log" || cannot "ip link add: $(tail -n 1 "$work/netns.log")"
ip addr add "198.18.$third.$((fourth + 1))/30" dev "$link"
ip link set "$link" up
ip -n "$ns" link set lo up
ip -n "$ns" addr add "198.18.$third.$((fourth + 2))/30" dev "${link}p"
ip -n "$ns" link set "${link}p" up
ip -n "$ns" route add default via "198.18.$third.$((fourth + 1))"
if [ "$(cat /proc/sys/net/ipv6/conf/all/disable_ipv6 2> /dev/null || echo 1)" = 0 ]; then
  six=$(printf 'fd0d:%x:%x' $(($$ / 65536)) $(($$ % 65536)))
  ip -6 addr add "$six::1/64" dev "$link" nodad
  ip -n "$ns" -6 addr add "$six::2/64" dev "${link}p" nodad
  ip -n "$ns" -6 route add default via "$six::1"
fi
(cd "$(dirname "$0")/.." && go build -o "$work/doors" ./interop/doors)
wrong() { echo "doors: $1:"; cat "$work/control.log"; exit 1; }
probe() { "$work/doors" -netns "$ns" -every "${EVERY:-100ms}" "$@"; }

# Controls: what must be found, from a process that its parent has left too, and what must not.
for at in 0.0.0.0:0 '[::]:0' "198.18.$third.$((fourth + 1)):0" udp:0.0.0.0:0; do
  code=0
  probe -least 0 -- "$work/doors" listen "$at" 1s 2> "$work/control.log" || code=$?
  [ $code = 1 ] && grep -q '^OPEN ' "$work/control.log" || wrong "a listener at $at was not found"
done
code=0
probe -least 0 -- bash -c '(setsid "$0" listen 0.0.0.0:0 1s &) ; sleep 0.7' "$work/doors" 2> "$work/control.log" || code=$?
[ $code = 1 ] && grep -q '^OPEN ' "$work/control.log" || wrong "a listener without a parent was not found"
for at in 127.0.0.1:0 '[::1]:0'; do
  [ "$at" = 127.0.0.1:0 ] || [ -n "${six:-}" ] || continue
  probe -- "$work/doors" listen "$at" 0.5s 2> "$work/control.log" || wrong "a listener at $at is open to other hosts"
done
echo "doors: the control listeners were found"

if [ $# = 0 ]; then
  set -- "$bin" run domain-adaptation --set steps=4 --set save_steps=2 --set sequence_length=64 --output "$work/run"
  rm -rf "$work/run"
fi
code=0
probe -least "${LEAST:-1}" -- "$@" > "$work/command.out" 2> "$work/doors.log" || code=$?
grep -E '^OPEN | listens at |^not reached |^doors: ' "$work/doors.log" || true
[ $code = 0 ] || { echo "doors: exit code $code of: $*"; [ $code = 1 ] || tail -n 20 "$work/doors.log"; exit 1; }
