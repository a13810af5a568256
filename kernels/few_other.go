//go:build !amd64 || noasm

package kernels

type few4 func(t *few, n, first int, codes []uint8, scales []float32, k0 int, c []float32, ldc int, add bool)

func few4Of(bool) few4 { return nil }

func few8Rows() int { return fewRegisters }

func few8(rows, n int, codes []int8, a []uint16, ars int, c []float32, ldc int, add bool) {
	few8Plain(rows, n, codes, a, ars, c, ldc, add)
}

func readRow(b []byte) uint64 { return readPlain(b) }

func widenedRows() int { return 0 }

func fewWidened(_, _ int, _ []uint16, _ []float32, _ int, _ []float32, _ int, _ bool) {
	panic("kernels: no set of this build widens in registers")
}
