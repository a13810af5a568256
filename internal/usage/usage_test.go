package usage

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestIO(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux counts them")
	}
	r0, w0, err := IO()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, make([]byte, 123456), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	r1, w1, err := IO()
	if err != nil {
		t.Fatal(err)
	}
	if w1-w0 < 123456 || w1-w0 > 124456 || r1-r0 < 123456 || r1-r0 > 130000 {
		t.Errorf("%d read and %d written of a file of 123456 bytes", r1-r0, w1-w0)
	}
}

func TestCPU(t *testing.T) {
	a := CPU()
	x := 0.0
	for i := range 20_000_000 {
		x += float64(i % 7)
	}
	if b := CPU(); b <= a || x == 0 {
		t.Errorf("%v of CPU time before and %v after a loop", a, b)
	}
}
