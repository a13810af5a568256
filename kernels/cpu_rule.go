package kernels

// processor is what CPUID says of the machine, and what the operating system saves of it (XCR0).
type processor struct {
	vendor     string // "AuthenticAMD", "GenuineIntel", …
	avx2       bool   // AVX2 and FMA
	avx512     bool   // AVX-512 F, BW, VL and DQ
	avx512BF16 bool
	tiles      bool  // AMX-TILE, AMX-BF16 and AMX-INT8
	refused    error // why the operating system does not let this process use them
}

// vendorIntel is Intel's name in CPUID leaf 0.
const vendorIntel = "GenuineIntel"

// setsOf are the highest set that p runs, the set that it is to run, and why. The rule knows nothing but p, so that all machines of a model
// choose alike.
//
// Intel's processors issue VDPBF16PS every second cycle: products of bfloat16 pairs are no faster there than float32 ones and pay for the
// rounding of their input. A bfloat16 weight is stored as it is and widened where it is multiplied, unless there are tiles.
func setsOf(p processor) (best, chosen Set, why string) {
	switch {
	case p.avx512 && p.avx512BF16 && p.tiles && p.refused == nil:
		return AMX, AMX, "the processor has AMX"
	case p.avx512 && p.avx512BF16 && p.vendor == vendorIntel:
		why = "Intel issues AVX512_BF16 every second cycle, so float32 products are faster"
		if p.tiles {
			why += "; AMX cannot be used: " + p.refused.Error()
		}
		return AVX512BF16, AVX512, why
	case p.avx512 && p.avx512BF16:
		return AVX512BF16, AVX512BF16, "the processor has AVX512_BF16"
	case p.avx512:
		return AVX512, AVX512, "the processor has AVX-512, without AVX512_BF16"
	case p.avx2:
		return AVX2, AVX2, "the processor has AVX2 and FMA, without AVX-512"
	}
	return Plain, Plain, "the processor or the build has no vectors that the kernels know"
}
