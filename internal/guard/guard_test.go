package guard

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"unsafe"
)

// TestGuard starts itself as a process that touches the memory beyond the slice; the process must die of it.
func TestGuard(t *testing.T) {
	if side := os.Getenv("ADAPTFLOW_GUARD_TEST"); side != "" {
		x := Float32(t, 5, side == "before")
		for i := range x {
			x[i] = 1 // all of it may be written
		}
		at := unsafe.Pointer(&x[0])
		if side == "before" {
			at = unsafe.Add(at, -4)
		} else {
			at = unsafe.Add(at, 20)
		}
		*(*float32)(at) = 2
		return
	}
	if runtime.GOOS == "windows" {
		return
	}
	for _, side := range []string{"before", "after"} {
		c := exec.Command(os.Args[0], "-test.run=^TestGuard$")
		c.Env = append(os.Environ(), "ADAPTFLOW_GUARD_TEST="+side)
		if out, err := c.CombinedOutput(); err == nil {
			t.Errorf("writing %s the slice did no harm: %s", side, out)
		}
	}
}
