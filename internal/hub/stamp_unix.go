//go:build unix && !solaris && !aix

package hub

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// noFollow keeps a link that somebody laid from being written through.
const noFollow = unix.O_NOFOLLOW

func stampOf(path string) stamp {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return stamp{}
	}
	m, c := time.Unix(st.Mtim.Unix()), time.Unix(st.Ctim.Unix())
	text := fmt.Sprintf("%d %d %d %d\n", st.Size, m.UnixNano(), c.UnixNano(), st.Ino)
	if c.After(m) {
		m = c
	}
	return stamp{text, m}
}
