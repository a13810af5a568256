//go:build unix && !solaris && !aix

package hub

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// noFollow keeps a link that somebody laid from being written through.
const noFollow = unix.O_NOFOLLOW

// stamp is what changes when a file is written or replaced.
type stamp struct {
	text string // "" unknown
	last time.Time
}

func stampOf(path string) stamp {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return stamp{}
	}
	m, c := time.Unix(st.Mtim.Unix()), time.Unix(st.Ctim.Unix())
	last := m
	if c.After(m) {
		last = c
	}
	return stamp{fmt.Sprintf("%d %d %d %d\n", st.Size, m.UnixNano(), c.UnixNano(), st.Ino), last}
}
