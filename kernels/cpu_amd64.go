//go:build amd64 && !noasm

package kernels

import (
	"encoding/binary"

	"golang.org/x/sys/cpu"
)

// detect reads CPUID; the library also checks in XCR0 that the operating system saves the wide registers.
func detect() processor {
	x := &cpu.X86
	p := processor{
		vendor:     vendor(),
		avx2:       x.HasAVX2 && x.HasFMA,
		avx512:     x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512DQ,
		avx512BF16: x.HasAVX512BF16,
		tiles:      hasTiles(),
	}
	if p.tiles {
		p.refused = permitTiles()
	}
	return p
}

// vendor is the processor's maker, such as GenuineIntel: leaf 0 of CPUID.
func vendor() string {
	_, b, c, d := amxCPUID(0, 0)
	var text []byte
	for _, part := range []uint32{b, d, c} {
		text = binary.LittleEndian.AppendUint32(text, part)
	}
	return string(text)
}
