package mem

import (
	"testing"
	"unsafe"
)

func TestAlloc(t *testing.T) {
	for _, n := range []int{1, 100, 3 << 20} {
		b := AllocFloat32(n)
		x := b.Float32()
		if len(x) != n {
			t.Fatalf("got %d values, want %d", len(x), n)
		}
		if uintptr(unsafe.Pointer(&x[0]))%Align != 0 {
			t.Errorf("block of %d values is not aligned", n)
		}
		for i := range x {
			if x[i] != 0 {
				t.Fatal("not zeroed")
			}
			x[i] = 1
		}
		b.Free()
		b.Free()
	}
	if len(Alloc(0).Bytes()) != 0 {
		t.Error("empty block has bytes")
	}
}
