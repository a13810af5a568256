#!/usr/bin/env bash
# build.sh DIR [OS/ARCH…] builds the wheels into DIR, by default for this system: build.sh dist linux/amd64 darwin/arm64 windows/amd64
# The program is linked without cgo, so that it needs no C library: one file for every Linux. ADAPTFLOW_BINARY names one that is built already.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
[ $# -gt 0 ] || { sed -n 2,4p "$0" >&2; exit 2; }
out=$(mkdir -p "$1" && cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- "$(go env GOOS)/$(go env GOARCH)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-input build==1.3.0 hatchling==1.28.0

for target; do
  case $target in
    linux/amd64) platform=manylinux_2_17_x86_64.musllinux_1_1_x86_64 ;;
    linux/arm64) platform=manylinux_2_17_aarch64.musllinux_1_1_aarch64 ;;
    darwin/amd64) platform=macosx_11_0_x86_64 ;;
    darwin/arm64) platform=macosx_11_0_arm64 ;;
    windows/amd64) platform=win_amd64 ;;
    *) echo "$target: wheels are built for linux/amd64, linux/arm64, darwin/amd64, darwin/arm64 and windows/amd64" >&2; exit 2 ;;
  esac
  project=$work/${target/\//-}
  mkdir "$project"
  cp "$here"/pyproject.toml "$here"/hatch_build.py "$root"/{README.md,LICENSE,NOTICE} "$root/internal/version/version.go" "$project"
  binary=adaptflow
  if [[ $target = windows/* ]]; then
    binary=adaptflow.exe
    sed -i 's/^"adaptflow" = "adaptflow"$/"adaptflow.exe" = "adaptflow.exe"/' "$project/pyproject.toml"
  fi
  if [ -n "${ADAPTFLOW_BINARY:-}" ]; then
    cp "$ADAPTFLOW_BINARY" "$project/$binary"
  else
    (cd "$root" && CGO_ENABLED=0 GOOS=${target%/*} GOARCH=${target#*/} go build -trimpath -ldflags=-s -o "$project/$binary" ./cmd/adaptflow)
  fi
  (cd "$project" && ADAPTFLOW_WHEEL_PLATFORM=$platform "$work/venv/bin/python" -m build --no-isolation --wheel --outdir "$out" > /dev/null)
done
ls -l "$out"/*.whl
