// Command blocks writes the kernels that expand ggml's blocks of codes: the values of a row, float32 or bfloat16.
//
//	go run ./blocks -out ../blocks_amd64.s -stubs ../blocks_stubs_amd64.go -pkg kernels
//
// Values have the bits of package ggml's Read. A scale in half precision times the integers of a block has at most 24 bits but in Q6_K, so
// that what is subtracted or added may be fused with the product; no value is subnormal, for all are multiples of 2⁻²⁴, so that
// VCVTNE2PS2BF16, which takes subnormal values for zero, rounds them as every other conversion does.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// format is a block format: its name, values and bytes, and what writes the expansion of a block.
type format struct {
	name          string
	values, bytes int
	expand        func(k *kernel)
}

var formats = []format{
	{"Q4x0", 32, 18, func(k *kernel) { k.nibbles(2, 8, -1) }},
	{"Q4x1", 32, 20, func(k *kernel) { k.nibbles(4, 0, -1) }},
	{"Q5x0", 32, 22, func(k *kernel) { k.nibbles(6, 16, 2) }},
	{"Q5x1", 32, 24, func(k *kernel) { k.nibbles(8, 0, 4) }},
	{"Q8x0", 32, 34, bytes8},
	{"Q4K", 256, 144, func(k *kernel) { k.twoScales(16, -1) }},
	{"Q5K", 256, 176, func(k *kernel) { k.twoScales(48, 16) }},
	{"Q6K", 256, 210, sixBits},
}

var lanesMem operand.Mem

func main() {
	ConstraintExpr("!noasm")
	lanesMem = GLOBL("blockLanes", 8|16) // RODATA|NOPTR
	for i := range 16 {
		DATA(4*i, operand.U32(i))
	}
	for _, f := range formats {
		for _, v := range []struct {
			bits int
			half bool
		}{{512, false}, {256, false}, {512, true}} {
			f.write(v.bits, v.half)
		}
	}
	Generate()
}

// kernel is a function that is being written.
type kernel struct {
	f      format
	bits   int
	half   bool
	src    reg.GPVirtual
	dst    reg.GPVirtual
	consts map[uint32]reg.VecVirtual
	lanes  reg.VecVirtual
	room   operand.Mem // of scales
	first  bool        // the first half of a pair of vectors is in zmm28
}

func (f format) write(bits int, half bool) {
	kind, to, what := fmt.Sprintf("WideV%d", bits), "*float32", "float32 values"
	if half {
		kind, to, what = "Half", "*uint16", "values rounded to bfloat16"
	}
	name := "expand" + f.name + kind
	TEXT(name, NOSPLIT, "func(n int, src *uint8, dst "+to+")")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s writes the %dn %s of n blocks of %d bytes.", name, f.values, what, f.bytes))
	n := Load(Param("n"), GP64()).(reg.GPVirtual)
	k := &kernel{f: f, bits: bits, half: half, consts: map[uint32]reg.VecVirtual{}}
	k.src, k.dst = Load(Param("src"), GP64()).(reg.GPVirtual), Load(Param("dst"), GP64()).(reg.GPVirtual)
	k.prepare()
	Label("loop")
	f.expand(k)
	ADDQ(operand.U32(uint32(f.bytes)), k.src)
	size := 4
	if half {
		size = 2
	}
	ADDQ(operand.U32(uint32(size*f.values)), k.dst)
	DECQ(n)
	JNZ(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// prepare loads the constants that the format uses.
func (k *kernel) prepare() {
	need := map[string][]uint32{"Q4x0": {15, 8}, "Q4x1": {15}, "Q5x0": {15, 16}, "Q5x1": {15, 16}, "Q8x0": nil, "Q4K": {15},
		"Q5K": {15, 16}, "Q6K": {15, 48, 32}}
	for _, c := range need[k.f.name] {
		r, s, tmp := k.vec(), XMM(), GP32()
		MOVL(operand.U32(c), tmp)
		MOVD(tmp, s)
		VPBROADCASTD(s, r)
		k.consts[c] = r
	}
	switch k.f.name {
	case "Q5x0", "Q5x1":
		k.lanes = k.vec()
		VMOVUPS(lanesMem, k.lanes)
	case "Q4K", "Q5K", "Q6K":
		k.room = AllocLocal(64)
	}
}

func (k *kernel) vec() reg.VecVirtual {
	if k.bits == 512 {
		return ZMM()
	}
	return YMM()
}

// n is the number of values of a vector.
func (k *kernel) n() int { return k.bits / 32 }

func (k *kernel) at(off int) operand.Mem { return operand.Mem{Base: k.src, Disp: off} }

func (k *kernel) and(a, b, out reg.VecVirtual) {
	if k.bits == 512 {
		VPANDD(a, b, out)
	} else {
		VPAND(a, b, out)
	}
}

func (k *kernel) or(a, b, out reg.VecVirtual) {
	if k.bits == 512 {
		VPORD(a, b, out)
	} else {
		VPOR(a, b, out)
	}
}

// scale is the number in half precision at byte off, in every lane.
func (k *kernel) scale(off int) reg.VecVirtual {
	d := k.vec()
	if k.bits == 512 {
		h := YMM()
		VPBROADCASTW(k.at(off), h)
		VCVTPH2PS(h, d)
	} else {
		h := XMM()
		VPBROADCASTW(k.at(off), h)
		VCVTPH2PS(h, d)
	}
	return d
}

// bytes loads the unsigned bytes from byte off on.
func (k *kernel) bytes(off int) reg.VecVirtual {
	c := k.vec()
	VPMOVZXBD(k.at(off), c)
	return c
}

// float converts integers in place.
func float(x reg.VecVirtual) { VCVTDQ2PS(x, x) }

// emit writes a vector of values, those from value pos of the block on. As bfloat16 two vectors that follow each other go together.
func (k *kernel) emit(x reg.VecVirtual, pos int) {
	if !k.half {
		VMOVUPS(x, operand.Mem{Base: k.dst, Disp: 4 * pos})
		return
	}
	if k.first = !k.first; k.first {
		VMOVUPS(x, reg.Z28)
		return
	}
	VMOVUPS(x, reg.Z29)
	narrow(30, 29, 28)
	VMOVUPS(reg.Z30, operand.Mem{Base: k.dst, Disp: 2 * (pos - 16)})
}

// narrow writes VCVTNE2PS2BF16, which the assembler does not know: the values of lo before those of hi.
func narrow(dst, hi, lo int) {
	inv := func(v, bit int) byte { return byte(^v>>bit) & 1 }
	p0 := inv(dst, 3)<<7 | inv(lo, 4)<<6 | inv(lo, 3)<<5 | inv(dst, 4)<<4 | 2
	p1 := byte(^hi&15)<<3 | 4 | 3
	p2 := 2<<5 | inv(hi, 4)<<3
	emit := func(op string, v operand.Constant) {
		Instruction(&ir.Instruction{Opcode: op, Operands: []operand.Op{v}})
	}
	emit("LONG", operand.U32(uint32(0x62)|uint32(p0)<<8|uint32(p1)<<16|uint32(p2)<<24))
	emit("WORD", operand.U16(uint16(0x72)|uint16(0xc0|byte(dst&7)<<3|byte(lo&7))<<8))
}

// nibbles writes the formats of 16 bytes of two codes each from byte at on, the lower halves' values first. below is subtracted from a
// code; 0 says that a least value in half precision at byte 2 is added. high is the byte of the codes' fifth bits, or −1.
func (k *kernel) nibbles(at, below, high int) {
	d := k.scale(0)
	var m, fifth reg.VecVirtual
	if below == 0 {
		m = k.scale(2)
	}
	if high >= 0 {
		fifth = k.vec()
		VPBROADCASTD(k.at(high), fifth)
		VPSRLVD(k.lanes, fifth, fifth)
	}
	for part := range 2 {
		for i := 0; i < 16; i += k.n() {
			x := k.bytes(at + i)
			if part == 0 {
				k.and(k.consts[15], x, x)
			} else {
				VPSRLD(operand.Imm(4), x, x)
			}
			pos := 16*part + i
			if high >= 0 {
				b := k.vec()
				if pos < 4 {
					VPSLLD(operand.Imm(4), fifth, b)
				} else {
					VPSRLD(operand.Imm(uint64(pos-4)), fifth, b)
				}
				k.and(k.consts[16], b, b)
				k.or(b, x, x)
			}
			if below > 0 {
				VPSUBD(k.consts[uint32(below)], x, x)
			}
			float(x)
			if m != nil {
				VFMADD213PS(m, d, x)
			} else {
				VMULPS(d, x, x)
			}
			k.emit(x, pos)
		}
	}
}

// bytes8 writes Q8_0.
func bytes8(k *kernel) {
	d := k.scale(0)
	for i := 0; i < 32; i += k.n() {
		x := k.vec()
		VPMOVSXBD(k.at(2+i), x)
		float(x)
		VMULPS(d, x, x)
		k.emit(x, i)
	}
}

// twoScales writes Q4_K and Q5_K: codes from byte at on, fifth bits from byte high on where that is not −1.
func (k *kernel) twoScales(at, high int) {
	// Eight scales and eight least values of 6 bits from 12 bytes.
	p0, p1, p2, s, m := GP32(), GP32(), GP32(), GP64(), GP64()
	MOVL(k.at(4), p0)
	MOVL(k.at(8), p1)
	MOVL(k.at(12), p2)
	upper := func(from reg.GPVirtual, shift uint64, low reg.GPVirtual, out reg.GPVirtual) {
		t, u := GP32(), GP32()
		MOVL(p2, t)
		if shift > 0 {
			SHRL(operand.Imm(shift), t)
		}
		ANDL(operand.U32(0x0f0f0f0f), t)
		MOVL(from, u)
		SHRL(operand.Imm(2), u)
		ANDL(operand.U32(0x30303030), u)
		ORL(u, t)
		SHLQ(operand.Imm(32), t.As64())
		MOVL(from, low)
		ANDL(operand.U32(0x3f3f3f3f), low)
		ORQ(t.As64(), low.As64())
		MOVQ(low.As64(), out)
	}
	upper(p0, 0, GP32(), s)
	upper(p1, 4, GP32(), m)
	for i, v := range []reg.GPVirtual{s, m} {
		x, y, d, h := XMM(), YMM(), YMM(), XMM()
		MOVQ(v, x)
		VPMOVZXBD(x, y)
		VCVTDQ2PS(y, y)
		VPBROADCASTW(k.at(2*i), h)
		VCVTPH2PS(h, d)
		VMULPS(d, y, y)
		VMOVUPS(y, k.room.Offset(32*i))
	}
	var fifth []reg.VecVirtual
	if high >= 0 {
		for i := 0; i < 32; i += k.n() {
			fifth = append(fifth, k.bytes(high+i))
		}
	}
	for j := range 8 {
		d, below := k.vec(), k.vec()
		VBROADCASTSS(k.room.Offset(4*j), d)
		VBROADCASTSS(k.room.Offset(32+4*j), below)
		for i := 0; i < 32; i += k.n() {
			x := k.bytes(at + j/2*32 + i)
			if j%2 == 0 {
				k.and(k.consts[15], x, x)
			} else {
				VPSRLD(operand.Imm(4), x, x)
			}
			if high >= 0 {
				b := k.vec()
				if j < 4 {
					VPSLLD(operand.Imm(uint64(4-j)), fifth[i/k.n()], b)
				} else {
					VPSRLD(operand.Imm(uint64(j-4)), fifth[i/k.n()], b)
				}
				k.and(k.consts[16], b, b)
				k.or(b, x, x)
			}
			float(x)
			VFMSUB213PS(below, d, x)
			k.emit(x, 32*j+i)
		}
	}
}

// sixBits writes Q6_K.
func sixBits(k *kernel) {
	d := k.scale(208)
	for i := 0; i < 16; i += k.n() {
		s := k.vec()
		VPMOVSXBD(k.at(192+i), s)
		float(s)
		VMULPS(d, s, s)
		VMOVUPS(s, k.room.Offset(4*i))
	}
	for j := range 8 {
		for i := 0; i < 32; i += k.n() {
			ds := k.vec()
			VBROADCASTSS(k.room.Offset(4*(2*j+i/16)), ds)
			x := k.bytes(j/4*64 + j%2*32 + i)
			if j/2%2 == 0 {
				k.and(k.consts[15], x, x)
			} else {
				VPSRLD(operand.Imm(4), x, x)
			}
			h := k.bytes(128 + j/4*32 + i)
			if shift := j % 4 * 2; shift < 4 {
				VPSLLD(operand.Imm(uint64(4-shift)), h, h)
			} else if shift > 4 {
				VPSRLD(operand.Imm(uint64(shift-4)), h, h)
			}
			k.and(k.consts[48], h, h)
			k.or(h, x, x)
			VPSUBD(k.consts[32], x, x)
			float(x)
			VMULPS(ds, x, x)
			k.emit(x, 32*j+i)
		}
	}
}
