//go:build amd64 && !noasm

package kernels

const (
	acrossWide  = 16 // columns of a block, and of the narrower one
	acrossLeast = 8
)

var (
	across512 = []acrossFunc{across1v512, across2v512, across3v512, across4v512, across5v512, across6v512, across7v512, across8v512}
	across256 = []acrossFunc{across1v256, across2v256, across3v256, across4v256}
)

// acrossOf are the active set's functions for blocks of so many columns, by rows - 1; nil where it has none.
func acrossOf(columns int) []acrossFunc {
	switch s := Active(); {
	case columns == acrossWide && s >= AVX512:
		return across512
	case columns == acrossLeast && s >= AVX2:
		return across256
	}
	return nil
}
