//go:build !unix || solaris || aix

package hub

import (
	"fmt"
	"os"
	"time"
)

const noFollow = 0

// stamp is what changes when a file is written or replaced.
type stamp struct {
	text string // "" unknown
	last time.Time
}

func stampOf(path string) stamp {
	st, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{fmt.Sprintf("%d %d\n", st.Size(), st.ModTime().UnixNano()), st.ModTime()}
}
