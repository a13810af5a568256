// Command int8 writes the kernels of LLM.int8: the expansion of signed 8-bit codes and the quantisation of a row of activations.
//
//	go run ./int8 -out ../int8_amd64.s -stubs ../int8_stubs_amd64.go -pkg kernels
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!noasm")
	for _, bits := range []int{512, 256} {
		codes8(bits, true)
		codes8(bits, false)
		absmax(bits)
		quantize(bits)
	}
	Generate()
}

func arg(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }

func vec(bits int) reg.VecVirtual {
	if bits == 512 {
		return ZMM()
	}
	return YMM()
}

func constant(bits int, v uint32) reg.VecVirtual {
	r, s, tmp := vec(bits), XMM(), GP32()
	MOVL(operand.U32(v), tmp)
	MOVD(tmp, s)
	VPBROADCASTD(s, r)
	return r
}

func and(bits int, a, b, out reg.VecVirtual) {
	if bits == 512 {
		VPANDD(a, b, out)
	} else {
		VPAND(a, b, out)
	}
}

func end() {
	DECQ(counter)
	JNZ(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

var counter reg.GPVirtual

// codes8 writes the expansion of a row of pairs of codes: value = code·scale, rounded to bfloat16 pairs with half, else as two rows of
// float32.
func codes8(bits int, half bool) {
	name, sig, what := fmt.Sprintf("codes8WideV%d", bits), "func(n int, codes *int8, scale *float32, even, odd *float32)",
		"the first codes' values to even, the second ones' to odd"
	if half {
		name, sig, what = fmt.Sprintf("codes8HalfV%d", bits), "func(n int, codes *int8, scale *float32, dst *uint16)",
			"pairs, rounded to bfloat16, to dst"
	}
	TEXT(name, NOSPLIT, sig)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s expands %dn pairs of codes by a scale a column: %s.", name, bits/32, what))
	counter = arg("n")
	codes, scale := arg("codes"), arg("scale")
	var even, odd, dst reg.GPVirtual
	var one, bias, high reg.VecVirtual
	if half {
		dst = arg("dst")
		one, bias, high = constant(bits, 1), constant(bits, 0x7fff), constant(bits, 0xffff0000)
	} else {
		even, odd = arg("even"), arg("odd")
	}
	round := func(x reg.VecVirtual) {
		r := vec(bits)
		VPSRLD(operand.Imm(16), x, r)
		and(bits, one, r, r)
		VPADDD(bias, r, r)
		VPADDD(r, x, x)
	}
	Label("loop")
	c, x, y, s := vec(bits), vec(bits), vec(bits), vec(bits)
	VPMOVZXWD(operand.Mem{Base: codes}, c)
	VMOVUPS(operand.Mem{Base: scale}, s)
	VPSLLD(operand.Imm(24), c, x)
	VPSRAD(operand.Imm(24), x, x)
	VPSLLD(operand.Imm(16), c, y)
	VPSRAD(operand.Imm(24), y, y)
	for _, v := range []reg.VecVirtual{x, y} {
		VCVTDQ2PS(v, v)
		VMULPS(s, v, v)
	}
	if half {
		round(x)
		round(y)
		VPSRLD(operand.Imm(16), x, x)
		and(bits, high, y, y)
		if bits == 512 {
			VPORD(y, x, x)
		} else {
			VPOR(y, x, x)
		}
		VMOVUPS(x, operand.Mem{Base: dst})
		ADDQ(operand.Imm(uint64(bits/8)), dst)
	} else {
		VMOVUPS(x, operand.Mem{Base: even})
		VMOVUPS(y, operand.Mem{Base: odd})
		ADDQ(operand.Imm(uint64(bits/8)), even)
		ADDQ(operand.Imm(uint64(bits/8)), odd)
	}
	ADDQ(operand.Imm(uint64(bits/16)), codes)
	ADDQ(operand.Imm(uint64(bits/8)), scale)
	end()
}

// toHalf rounds values to IEEE halves, as float32.
func toHalf(bits int, x reg.VecVirtual) {
	var h reg.VecVirtual
	if bits == 512 {
		h = YMM()
	} else {
		h = XMM()
	}
	VCVTPS2PH(operand.Imm(0), x, h)
	VCVTPH2PS(h, x)
}

// absmax writes the search for the largest magnitudes of a row of halves, below a threshold and in all, as bits.
func absmax(bits int) {
	name := fmt.Sprintf("int8AbsmaxV%d", bits)
	TEXT(name, NOSPLIT, "func(n int, x *float32, limit uint32, below, all *uint32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s finds, for %dn values rounded to halves, the largest magnitude a lane: of those whose bits are less than limit, "+
		"and of all.", name, bits/32))
	counter = arg("n")
	x, below, all := arg("x"), arg("below"), arg("all")
	limit, s := vec(bits), XMM()
	l := Load(Param("limit"), GP32())
	MOVD(l, s)
	VPBROADCASTD(s, limit)
	mag := constant(bits, 0x7fffffff)
	b, a := vec(bits), vec(bits)
	if bits == 512 {
		VPXORD(b, b, b)
		VPXORD(a, a, a)
	} else {
		VPXOR(b, b, b)
		VPXOR(a, a, a)
	}
	Label("loop")
	v := vec(bits)
	VMOVUPS(operand.Mem{Base: x}, v)
	toHalf(bits, v)
	and(bits, mag, v, v)
	VPMAXUD(v, a, a)
	if bits == 512 {
		k := K()
		VPCMPGTD(v, limit, k)
		VPMAXUD(v, b, k, b)
	} else {
		m := YMM()
		VPCMPGTD(v, limit, m)
		VPAND(m, v, v)
		VPMAXUD(v, b, b)
	}
	ADDQ(operand.Imm(uint64(bits/8)), x)
	DECQ(counter)
	JNZ(operand.LabelRef("loop"))
	VMOVUPS(b, operand.Mem{Base: below})
	VMOVUPS(a, operand.Mem{Base: all})
	VZEROUPPER()
	RET()
}

// quantize writes the codes of a row of halves, as float32 values.
func quantize(bits int) {
	name := fmt.Sprintf("int8QuantizeV%d", bits)
	TEXT(name, NOSPLIT, "func(n int, dst, x *float32, scale float32, limit uint32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s rounds %dn values to halves and their products with scale to integers; those whose bits are not less than limit "+
		"become zero.", name, bits/32))
	counter = arg("n")
	dst, x := arg("dst"), arg("x")
	limit, s, scale := vec(bits), XMM(), vec(bits)
	l := Load(Param("limit"), GP32())
	MOVD(l, s)
	VPBROADCASTD(s, limit)
	f := XMM()
	Load(Param("scale"), f)
	VBROADCASTSS(f, scale)
	mag := constant(bits, 0x7fffffff)
	Label("loop")
	v, a := vec(bits), vec(bits)
	VMOVUPS(operand.Mem{Base: x}, v)
	toHalf(bits, v)
	and(bits, mag, v, a)
	VMULPS(scale, v, v)
	if bits == 512 {
		k := K()
		VPCMPGTD(a, limit, k)
		VRNDSCALEPS_Z(operand.Imm(8), v, k, v)
	} else {
		VPCMPGTD(a, limit, a)
		VROUNDPS(operand.Imm(8), v, v)
		VPAND(a, v, v)
	}
	VMOVUPS(v, operand.Mem{Base: dst})
	ADDQ(operand.Imm(uint64(bits/8)), dst)
	ADDQ(operand.Imm(uint64(bits/8)), x)
	end()
}
