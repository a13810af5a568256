# What has changed since the last whole run: which parts of the tier land are needed.
# shellcheck shell=bash

# last_full prints the commit of the newest whole run recorded in docs/lab/full that passed and that this checkout descends from; nothing where there is none.
last_full() {
  local commit
  for commit in $(python3 .ci/record.py --passed docs/lab/full); do
    if git merge-base --is-ancestor "$commit" HEAD 2> /dev/null; then echo "$commit"; return; fi
  done
}

# changed BASE NEEDS…: whether a file of NEEDS differs between BASE and the working tree. A need that begins with ./ is a Go package, with all of this
# module that it and its tests import; any other is a folder or file. Without BASE all has changed, and so it has where the module's or the checks' own files did.
changed() {
  local base=$1 module files folders need
  shift
  [ -n "$base" ] || return 0
  files=$(git diff --name-only "$base" 2> /dev/null; git ls-files --others --exclude-standard) || return 0
  grep -qE '^(go\.(mod|sum)|\.ci/)' <<< "$files" && return 0
  module=$(go list -m)
  folders=$(for need; do
    case $need in
      ./* | "$module"*) go list -deps -test -f '{{if .Module}}{{if .Module.Main}}{{.Dir}}{{end}}{{end}}' "$need" ;;
      *) echo "$PWD/$need" ;;
    esac
  done | sort -u)
  FILES=$files FOLDERS=$folders python3 - "$PWD" <<'PY'
import os, sys
root = sys.argv[1]
folders = {os.path.relpath(f, root) for f in os.environ["FOLDERS"].split("\n") if f}
def owned(path):  # a file belongs to its folder, and what lies below testdata and the like to the nearest folder that is listed
    if path in folders:
        return True
    d = os.path.dirname(path)
    while d:
        if d in folders:
            return True
        if any(n.endswith(".go") for n in os.listdir(d)) if os.path.isdir(d) else False:
            return False  # another package
        d = os.path.dirname(d)
    return False
sys.exit(0 if any(owned(f) for f in os.environ["FILES"].split("\n") if f) else 1)
PY
}
