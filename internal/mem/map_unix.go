//go:build unix

package mem

import (
	"os"

	"golang.org/x/sys/unix"
)

func mapFile(f *os.File, off int64, n int, write bool) ([]byte, error) {
	prot := unix.PROT_READ
	if write {
		prot |= unix.PROT_WRITE
	}
	b, err := unix.Mmap(int(f.Fd()), off, n, prot, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return b, nil
}

// adviseRange gives advice that a system may refuse: it then does as it does without.
func adviseRange(b []byte, want bool) {
	if len(b) == 0 {
		return
	}
	if want {
		_ = unix.Madvise(b, unix.MADV_WILLNEED)
	} else {
		_ = unix.Madvise(b, unix.MADV_DONTNEED)
	}
}
