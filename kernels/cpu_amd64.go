//go:build amd64 && !noasm

package kernels

import "golang.org/x/sys/cpu"

// detect reads CPUID; x/sys/cpu also checks in XCR0 that the operating system saves the wide registers.
func detect() Set {
	x := &cpu.X86
	switch avx2 := x.HasAVX2 && x.HasFMA; {
	case avx2 && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512DQ:
		if x.HasAVX512BF16 {
			return AVX512BF16
		}
		return AVX512
	case avx2:
		return AVX2
	}
	return Plain
}
