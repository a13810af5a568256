//go:build unix

package mem

import "golang.org/x/sys/unix"

func reserve(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(&NoRoom{Want: int64(n), Held: held.Load(), Err: err})
	}
	return b
}

// whole asks for huge pages where a block fills them, never for one at its end that it fills in part: all of that would be resident.
func whole(data []byte) { advise(data[:len(data)&^(Align-1)]) }

func release(b []byte) { _ = unix.Munmap(b) }
