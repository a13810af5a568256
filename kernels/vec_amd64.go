//go:build !noasm

package kernels

// vec is the implementation that the active kernel set asks for.
func vec() *vecSet {
	switch Active() {
	case AVX512, AVX512BF16, AMX:
		return &vec512
	case AVX2:
		return &vec256
	}
	return &plainVec
}
