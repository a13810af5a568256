package mem

import "golang.org/x/sys/unix"

func advise(b []byte) {
	if len(b) >= 8*Align {
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	}
}
