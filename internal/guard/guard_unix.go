//go:build unix && !solaris && !aix

package guard

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func alloc(t testing.TB, n int, side Side) []float32 {
	t.Helper()
	page := os.Getpagesize()
	body := (4*n + page - 1) / page * page
	mem, err := unix.Mmap(-1, 0, body+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(mem); err != nil {
			t.Error(err)
		}
	})
	for _, p := range [][]byte{mem[:page], mem[page+body:]} {
		if err := unix.Mprotect(p, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	at := page
	if side == After {
		at = page + body - 4*n
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&mem[at])), n)
}
