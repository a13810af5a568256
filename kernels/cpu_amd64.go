//go:build amd64 && !noasm

package kernels

import "github.com/klauspost/cpuid/v2"

// detect reads CPUID; the library also checks in XCR0 that the operating system saves the wide registers.
func detect() processor {
	c := &cpuid.CPU
	p := processor{
		vendor:     c.VendorString,
		avx2:       c.Supports(cpuid.AVX2, cpuid.FMA3),
		avx512:     c.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512VL, cpuid.AVX512DQ),
		avx512BF16: c.Supports(cpuid.AVX512BF16),
		tiles:      hasTiles(),
	}
	if p.tiles {
		p.refused = permitTiles()
	}
	return p
}
