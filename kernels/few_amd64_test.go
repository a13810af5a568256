//go:build amd64 && !noasm

package kernels

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// TestVNNI: products and sums in one instruction give the integers of those in two, at any number of rows.
func TestVNNI(t *testing.T) {
	if !vnni || !Supported(AVX512) {
		t.Skip("the processor has no AVX512_VNNI")
	}
	const n = 37
	r := rand.New(rand.NewPCG(3, 4))
	codes, a := make([]int8, n*2*panelCols), make([]int16, fewRegisters*2*n)
	for i := range codes {
		codes[i] = int8(r.IntN(256) - 128)
	}
	for i := range a {
		a[i] = int16(r.IntN(256) - 128)
	}
	for rows := 1; rows <= fewRegisters; rows++ {
		for add := range 2 {
			start := randn(r, rows*panelCols)
			want, two, one := slices.Clone(start), slices.Clone(start), slices.Clone(start)
			few8Plain(rows, n, codes, unsafe.Slice((*uint16)(unsafe.Pointer(&a[0])), len(a)), 2*n, want, panelCols, add == 1)
			few8V512[rows-1](n, &codes[0], &a[0], 2*n, &two[0], panelCols, add)
			few8VNNI[rows-1](n, &codes[0], &a[0], 2*n, &one[0], panelCols, add)
			if !slices.Equal(want, two) || !slices.Equal(want, one) {
				t.Errorf("%d rows, add %d: sums differ", rows, add)
			}
		}
	}
}
