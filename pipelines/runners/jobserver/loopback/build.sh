#!/usr/bin/env bash
# Makes loopback.jar of the sources beside it, the same bytes with every JDK 17: build.sh JARS [OUT], where JARS is a folder of the jars of a job
# server (jobserver/jars/gradle/wrapper/flink-… in the cache folder). interop/flink.sh compares.
set -euo pipefail
out=$(realpath -m "${2:-$(dirname "$0")/loopback.jar}") jars=$(realpath "$1")
cd "$(dirname "$0")"
classes=$(mktemp -d)
trap 'rm -rf "$classes"' EXIT
javac --release 11 -g:none -encoding UTF-8 -cp "$jars/*" -d "$classes" $(find org -name '*.java')
rm -f "$out"
jar --create --file "$out" --no-manifest --date=1980-02-01T00:00:00Z -C "$classes" org
