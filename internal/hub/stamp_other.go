//go:build !unix || solaris || aix

package hub

import (
	"fmt"
	"os"
)

const noFollow = 0

func stampOf(path string) stamp {
	st, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{fmt.Sprintf("%d %d\n", st.Size(), st.ModTime().UnixNano()), st.ModTime()}
}
