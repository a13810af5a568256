# shellcheck shell=bash

free_gib() { echo $(($(df -Pk "$1" | awk 'END { print $4 }') / 1048576)); }

# make_room GIB empties Go's build cache, which only costs time, where fewer than GIB GiB are free for it; where that is not enough, it says so.
make_room() {
  mkdir -p "$GOCACHE"
  [ "$(free_gib "$GOCACHE")" -lt "$1" ] || return 0
  echo "$(free_gib "$GOCACHE") GiB are free of the $1 GiB that this needs: emptying Go's build cache"
  go clean -cache
  [ "$(free_gib "$GOCACHE")" -ge "$1" ] || echo "still only $(free_gib "$GOCACHE") GiB are free: a part may fail for want of disk" >&2
}
