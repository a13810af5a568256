//go:build amd64 && !noasm

package kernels

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// few4 computes at most 8 rows of a chunk of n pairs of codes from row k0 of A on: see few4Half1.
type few4 func(t *few, n, first int, codes []uint8, scales []float32, k0 int, c []float32, ldc int, add bool)

type (
	asmFew4Half func(n, first, block int, codes *uint8, scale, lut *float32, a *uint16, ars int, c *float32, ldc, add int)
	asmFew4Wide func(n, first, block int, codes *uint8, scale, lut *float32, a *float32, ars int, c *float32, ldc, add int)
	asmFew8     func(n int, codes *int8, a *int16, ars int, c *float32, ldc, add int)

	asmFewWidened func(n int, b *uint16, a *float32, ars int, c *float32, ldc, add int)
)

var (
	few4Halves = [fewRegisters]asmFew4Half{few4Half1, few4Half2, few4Half3, few4Half4, few4Half5, few4Half6, few4Half7, few4Half8}
	few4Wides  = [fewRegisters]asmFew4Wide{few4Wide1, few4Wide2, few4Wide3, few4Wide4, few4Wide5, few4Wide6, few4Wide7, few4Wide8}
	few8V512   = [fewRegisters]asmFew8{few8x1v512, few8x2v512, few8x3v512, few8x4v512, few8x5v512, few8x6v512, few8x7v512, few8x8v512}
	few8V256   = [2]asmFew8{few8x1v256, few8x2v256}
	few8VNNI   = [fewRegisters]asmFew8{few8x1v512n, few8x2v512n, few8x3v512n, few8x4v512n, few8x5v512n, few8x6v512n, few8x7v512n,
		few8x8v512n}

	fewWidenedV512 = []asmFewWidened{fewWidened1v512, fewWidened2v512, fewWidened3v512, fewWidened4v512, fewWidened5v512, fewWidened6v512,
		fewWidened7v512, fewWidened8v512}
	fewWidenedV256 = []asmFewWidened{fewWidened1v256, fewWidened2v256}

	vnni = cpu.X86.HasAVX512VNNI
)

// few4Of is the kernel of the active set; nil where values are better expanded for its tiles.
func few4Of(half bool) few4 {
	switch s := Active(); {
	case half && s == AVX512BF16:
		return runFew4Half
	case !half && s >= AVX512:
		return runFew4Wide
	}
	return nil
}

// checkFew4 panics where a kernel would read or write outside its slices, which assembly would not notice.
func checkFew4(t *few, n, first int, codes []uint8, scales []float32, c []float32, ldc int) {
	_ = codes[n*panelCols-1]
	_ = c[(t.m-1)*ldc+panelCols-1]
	blocks := 1 + (max(0, n-first)+t.b4.Block/2-1)/(t.b4.Block/2)
	_ = scales[blocks*panelCols-1]
}

func runFew4Half(t *few, n, first int, codes []uint8, scales []float32, k0 int, c []float32, ldc int, add bool) {
	checkFew4(t, n, first, codes, scales, c, ldc)
	a := t.a16[k0:]
	_ = a[(t.m-1)*t.lda16+2*n-1]
	few4Halves[t.m-1](n, first, t.b4.Block/2, &codes[0], &scales[0], &t.b4.Values[0], &a[0], t.lda16, &c[0], ldc, flag(add))
}

func runFew4Wide(t *few, n, first int, codes []uint8, scales []float32, k0 int, c []float32, ldc int, add bool) {
	checkFew4(t, n, first, codes, scales, c, ldc)
	a := t.a[k0:]
	_ = a[(t.m-1)*t.lda+2*n-1]
	few4Wides[t.m-1](n, first, t.b4.Block/2, &codes[0], &scales[0], &t.b4.Values[0], &a[0], t.lda, &c[0], ldc, flag(add))
}

// few8Rows is the most rows of few8.
func few8Rows() int {
	if Active() == AVX2 {
		return len(few8V256)
	}
	return fewRegisters
}

// few8 is few8Plain.
func few8(rows, n int, codes []int8, a []uint16, ars int, c []float32, ldc int, add bool) {
	_, _, _ = codes[n*2*panelCols-1], a[(rows-1)*ars+2*n-1], c[(rows-1)*ldc+panelCols-1]
	f := asmFew8(nil)
	switch s := Active(); {
	case s >= AVX512 && vnni && rows > 2: // the same integers; of one row or two the sums would be waited for
		f = few8VNNI[rows-1]
	case s >= AVX512:
		f = few8V512[rows-1]
	case s == AVX2:
		f = few8V256[rows-1]
	default:
		few8Plain(rows, n, codes, a, ars, c, ldc, add)
		return
	}
	f(n, &codes[0], (*int16)(unsafe.Pointer(&a[0])), ars, &c[0], ldc, flag(add))
}

// widenedRows is the most rows of fewWidened; 0 where the set has none, or tiles of pairs.
func widenedRows() int {
	switch Active() {
	case AVX512:
		return len(fewWidenedV512)
	case AVX2:
		return len(fewWidenedV256)
	}
	return 0
}

// fewWidened computes at most widenedRows rows and 48 columns of C (+= where add) from n pairs of rows of a bfloat16 panel.
func fewWidened(rows, n int, b []uint16, a []float32, ars int, c []float32, ldc int, add bool) {
	_, _, _ = b[n*2*panelCols-1], a[(rows-1)*ars+2*n-1], c[(rows-1)*ldc+panelCols-1]
	f := fewWidenedV256
	if Active() == AVX512 {
		f = fewWidenedV512
	}
	f[rows-1](n, &b[0], &a[0], ars, &c[0], ldc, flag(add))
}

func readRow(b []byte) uint64 {
	n := len(b) / 512
	sum := readPlain(b[n*512:])
	if n == 0 {
		return sum
	}
	switch s := Active(); {
	case s >= AVX512:
		return sum ^ readMemoryV512(n, &b[0])
	case s == AVX2:
		return sum ^ readMemoryV256(n, &b[0])
	}
	return sum ^ readPlain(b[:n*512])
}
