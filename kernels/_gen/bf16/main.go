// Command bf16 writes the bfloat16 kernels: the tile of the matrix product with VDPBF16PS, and the conversions.
//
//	go run ./bf16 -out ../bf16_amd64.s -stubs ../bf16_stubs_amd64.go -pkg kernels
//
// The assembler of Go knows neither VDPBF16PS nor VCVTNE2PS2BF16, so that both are written as bytes, with registers chosen here.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!noasm")
	for vecs := 1; vecs <= 3; vecs++ {
		for rows := 1; rows <= 8; rows++ {
			tile(rows, vecs)
		}
	}
	narrow()
	transpose()
	expand()
	for _, bits := range []int{512, 256} {
		codes4(bits, true)
		codes4(bits, false)
		round(bits, false)
		round(bits, true)
		unpack(bits)
	}
	Generate()
}

var zmm = []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10,
	reg.Z11, reg.Z12, reg.Z13,
	reg.Z14, reg.Z15, reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27}

// evex writes an instruction of map 0F38 on 512-bit registers: prefix 2 is F3, 3 is F2.
func evex(prefix, opcode byte, dst, src1, src2 int) {
	inv := func(v, bit int) byte { return byte(^v>>bit) & 1 }
	p0 := inv(dst, 3)<<7 | inv(src2, 4)<<6 | inv(src2, 3)<<5 | inv(dst, 4)<<4 | 2
	p1 := byte(^src1&15)<<3 | 4 | prefix
	p2 := 2<<5 | inv(src1, 4)<<3
	modrm := 0xc0 | byte(dst&7)<<3 | byte(src2&7)
	emit := func(op string, v operand.Constant) {
		Instruction(&ir.Instruction{Opcode: op, Operands: []operand.Op{v}})
	}
	emit("LONG", operand.U32(uint32(0x62)|uint32(p0)<<8|uint32(p1)<<16|uint32(p2)<<24))
	emit("WORD", operand.U16(uint16(opcode)|uint16(modrm)<<8))
}

// dp adds the products of the pairs of a and b to acc: VDPBF16PS.
func dp(b, a, acc int) { evex(2, 0x52, acc, a, b) }

func arg(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }

// tile writes the kernel of rows rows and vecs vectors of columns.
func tile(rows, vecs int) {
	name := fmt.Sprintf("gemmHalf%dx%d", rows, vecs*16)
	TEXT(name, NOSPLIT, "func(k int, a *uint16, ars int, b *uint16, c *float32, ldc int, add int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes %d rows and %d columns of C from k pairs: rows of A ars values apart, rows of B 96.", name, rows, vecs*16))
	k, a, ars, b := arg("k"), arg("a"), arg("ars"), arg("b")
	SHLQ(operand.Imm(1), ars)
	var a4, ars3 reg.GPVirtual
	if rows > 3 {
		ars3 = GP64()
		LEAQ(operand.Mem{Base: ars, Index: ars, Scale: 2}, ars3)
	}
	if rows > 4 {
		a4 = GP64()
		LEAQ(operand.Mem{Base: a, Index: ars, Scale: 4}, a4)
	}
	at := func(r int) operand.Mem {
		base := a
		if r >= 4 {
			base = a4
		}
		switch r % 4 {
		case 1:
			return operand.Mem{Base: base, Index: ars, Scale: 1}
		case 2:
			return operand.Mem{Base: base, Index: ars, Scale: 2}
		case 3:
			return operand.Mem{Base: base, Index: ars3, Scale: 1}
		}
		return operand.Mem{Base: base}
	}
	const firstB, x = 24, 27
	acc := func(r, j int) int { return r*3 + j }
	for r := range rows {
		for j := range vecs {
			VPXORD(zmm[acc(r, j)], zmm[acc(r, j)], zmm[acc(r, j)])
		}
	}
	Label("loop")
	for j := range vecs {
		VMOVUPS(operand.Mem{Base: b, Disp: j * 64}, zmm[firstB+j])
	}
	for r := range rows {
		VBROADCASTSS(at(r), zmm[x])
		for j := range vecs {
			dp(firstB+j, x, acc(r, j))
		}
	}
	ADDQ(operand.Imm(4), a)
	if rows > 4 {
		ADDQ(operand.Imm(4), a4)
	}
	ADDQ(operand.U32(192), b)
	DECQ(k)
	JNZ(operand.LabelRef("loop"))
	c, ldc, add := arg("c"), arg("ldc"), arg("add")
	SHLQ(operand.Imm(2), ldc)
	to := func(j int) operand.Mem { return operand.Mem{Base: c, Disp: j * 64} }
	TESTQ(add, add)
	JNZ(operand.LabelRef("add"))
	for r := range rows {
		for j := range vecs {
			VMOVUPS(zmm[acc(r, j)], to(j))
		}
		if r < rows-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
	Label("add")
	for r := range rows {
		for j := range vecs {
			VADDPS(to(j), zmm[acc(r, j)], zmm[acc(r, j)])
			VMOVUPS(zmm[acc(r, j)], to(j))
		}
		if r < rows-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}

// narrow writes the conversion of A.
func narrow() {
	TEXT("narrowHalf32", NOSPLIT, "func(n int, dst *uint16, src *float32)")
	Pragma("noescape")
	Doc("narrowHalf32 rounds 32n values to bfloat16 with VCVTNE2PS2BF16, which takes subnormal values for zero.")
	n, dst, src := arg("n"), arg("dst"), arg("src")
	Label("loop")
	VMOVUPS(operand.Mem{Base: src}, zmm[1])
	VMOVUPS(operand.Mem{Base: src, Disp: 64}, zmm[0])
	evex(3, 0x72, 2, 0, 1)
	VMOVUPS(zmm[2], operand.Mem{Base: dst})
	ADDQ(operand.U32(128), src)
	ADDQ(operand.Imm(64), dst)
	DECQ(n)
	JNZ(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// transpose writes the step that turns pairs of the inner dimension of a product into those of its transpose.
func transpose() {
	TEXT("transposePairs4", NOSPLIT, "func(src, dst *uint16)")
	Pragma("noescape")
	Doc("transposePairs4 reads 4 rows of 48 pairs, rows 96 values apart: the values (2r+s, n). It writes them as pairs (n, n+1) of the " +
		"columns 2r+s, rows 96 values apart.")
	src, dst := arg("src"), arg("dst")
	n := GP64()
	MOVQ(operand.U32(6), n)
	Label("loop")
	var x, y [4]reg.VecVirtual
	for r := range x {
		x[r], y[r] = YMM(), YMM()
		VMOVUPS(operand.Mem{Base: src, Disp: r * 192}, x[r])
		VPSHUFLW(operand.Imm(0xd8), x[r], x[r]) // (k n)(k+1 n)(k n+1)(k+1 n+1) to (k n)(k n+1)(k+1 n)(k+1 n+1)
		VPSHUFHW(operand.Imm(0xd8), x[r], x[r])
	}
	VUNPCKLPD(x[1], x[0], y[0]) // quarters 0 and 2 of rows 0 and 1
	VUNPCKHPD(x[1], x[0], y[1])
	VUNPCKLPD(x[3], x[2], y[2])
	VUNPCKHPD(x[3], x[2], y[3])
	VPERM2F128(operand.Imm(0x20), y[2], y[0], x[0])
	VPERM2F128(operand.Imm(0x20), y[3], y[1], x[1])
	VPERM2F128(operand.Imm(0x31), y[2], y[0], x[2])
	VPERM2F128(operand.Imm(0x31), y[3], y[1], x[3])
	for r := range x {
		VMOVUPS(x[r], operand.Mem{Base: dst, Disp: r * 192})
	}
	ADDQ(operand.Imm(32), src)
	ADDQ(operand.U32(4*192), dst)
	DECQ(n)
	JNZ(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// expand writes the widening of pairs into two rows of float32.
func expand() {
	TEXT("expandPairs8", NOSPLIT, "func(n int, src *uint16, even, odd *float32)")
	Pragma("noescape")
	Doc("expandPairs8 widens 8n pairs: the first of each to even, the second to odd.")
	n, src, even, odd := arg("n"), arg("src"), arg("even"), arg("odd")
	mask := YMM()
	VPCMPEQD(mask, mask, mask)
	VPSLLD(operand.Imm(16), mask, mask)
	Label("loop")
	x, y := YMM(), YMM()
	VMOVUPS(operand.Mem{Base: src}, x)
	VPSLLD(operand.Imm(16), x, y)
	VPAND(mask, x, x)
	VMOVUPS(y, operand.Mem{Base: even})
	VMOVUPS(x, operand.Mem{Base: odd})
	for _, p := range []reg.GPVirtual{src, even, odd} {
		ADDQ(operand.Imm(32), p)
	}
	DECQ(n)
	JNZ(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func vec(bits int) reg.VecVirtual {
	if bits == 512 {
		return ZMM()
	}
	return YMM()
}

// round writes the rounding of float32 values in place, and with pack also their upper halves. A NaN keeps its upper bits and is quiet.
func round(bits int, pack bool) {
	name, sig := fmt.Sprintf("roundBF16v%d", bits), "func(n int, x *float32)"
	doc := fmt.Sprintf("%s rounds %dn values to bfloat16 in place.", name, bits/32)
	if pack {
		name, sig = fmt.Sprintf("packBF16v%d", bits), "func(n int, x *float32, dst *uint16)"
		doc = fmt.Sprintf("%s rounds %dn values to bfloat16 in place and writes their upper halves to dst.", name, bits/32)
	}
	TEXT(name, NOSPLIT, sig)
	Pragma("noescape")
	Doc(doc)
	n, x := arg("n"), arg("x")
	var dst reg.GPVirtual
	if pack {
		dst = arg("dst")
	}
	one, half, quiet, high := vec(bits), vec(bits), vec(bits), vec(bits)
	tmp := GP32()
	for _, c := range []struct {
		v uint32
		r reg.VecVirtual
	}{{1, one}, {0x7fff, half}, {0x400000, quiet}, {0xffff0000, high}} {
		MOVL(operand.U32(c.v), tmp)
		s := XMM()
		MOVD(tmp, s)
		if bits == 512 {
			VPBROADCASTD(s, c.r)
		} else {
			VPBROADCASTD(s, c.r)
		}
	}
	Label("loop")
	v, r, q := vec(bits), vec(bits), vec(bits)
	VMOVUPS(operand.Mem{Base: x}, v)
	VPSRLD(operand.Imm(16), v, r)
	if bits == 512 {
		nan := K()
		VPANDD(one, r, r)
		VPADDD(half, r, r)
		VPADDD(v, r, r)
		VPORD(quiet, v, q)
		VCMPPS(operand.Imm(3), v, v, nan)
		VMOVDQA32(q, nan, r)
		VPANDD(high, r, r)
	} else {
		nan := vec(bits)
		VPAND(one, r, r)
		VPADDD(half, r, r)
		VPADDD(v, r, r)
		VPOR(quiet, v, q)
		VCMPPS(operand.Imm(3), v, v, nan)
		VBLENDVPS(nan, q, r, r)
		VPAND(high, r, r)
	}
	VMOVUPS(r, operand.Mem{Base: x})
	if pack {
		VPSRLD(operand.Imm(16), r, r)
		if bits == 512 {
			y := YMM()
			VPMOVDW(r, y)
			VMOVUPS(y, operand.Mem{Base: dst})
			ADDQ(operand.Imm(32), dst)
		} else {
			VPACKUSDW(r, r, r)
			VPERMQ(operand.Imm(0x08), r, r)
			VMOVUPS(r.AsX(), operand.Mem{Base: dst})
			ADDQ(operand.Imm(16), dst)
		}
	}
	ADDQ(operand.Imm(uint64(bits/8)), x)
	DECQ(n)
	JNZ(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// unpack writes the widening of bfloat16 values.
func unpack(bits int) {
	name := fmt.Sprintf("unpackBF16v%d", bits)
	TEXT(name, NOSPLIT, "func(n int, x *float32, src *uint16)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s widens %dn values.", name, bits/32))
	n, x, src := arg("n"), arg("x"), arg("src")
	Label("loop")
	v := vec(bits)
	VPMOVZXWD(operand.Mem{Base: src}, v)
	VPSLLD(operand.Imm(16), v, v)
	VMOVUPS(v, operand.Mem{Base: x})
	ADDQ(operand.Imm(uint64(bits/16)), src)
	ADDQ(operand.Imm(uint64(bits/8)), x)
	DECQ(n)
	JNZ(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// codes4 writes the expansion of a row of pairs of 4-bit codes: value = lut[code]·scale, rounded to bfloat16 pairs with half, else as two
// rows of float32.
func codes4(bits int, half bool) {
	name, sig, what := fmt.Sprintf("codes4WideV%d", bits), "func(n int, codes *uint8, lut, scale *float32, even, odd *float32)",
		"the upper codes' values to even, the lower ones' to odd"
	if half {
		name, sig, what = fmt.Sprintf("codes4HalfV%d", bits), "func(n int, codes *uint8, lut, scale *float32, dst *uint16)",
			"pairs, rounded to bfloat16, to dst"
	}
	TEXT(name, NOSPLIT, sig)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s expands %dn bytes of two codes each by a table of 16 values and a scale a column: %s.", name, bits/32, what))
	n, codes, lut, scale := arg("n"), arg("codes"), arg("lut"), arg("scale")
	var even, odd, dst reg.GPVirtual
	if half {
		dst = arg("dst")
	} else {
		even, odd = arg("even"), arg("odd")
	}
	tmp := GP32()
	constant := func(v uint32) reg.VecVirtual {
		r, s := vec(bits), XMM()
		MOVL(operand.U32(v), tmp)
		MOVD(tmp, s)
		VPBROADCASTD(s, r)
		return r
	}
	low := constant(15)
	var one, bias, high reg.VecVirtual
	if half {
		one, bias, high = constant(1), constant(0x7fff), constant(0xffff0000)
	}
	t0 := vec(bits)
	VMOVUPS(operand.Mem{Base: lut}, t0)
	var t1 reg.VecVirtual
	if bits == 256 {
		t1 = YMM()
		VMOVUPS(operand.Mem{Base: lut, Disp: 32}, t1)
	}
	look := func(idx, out reg.VecVirtual) {
		if bits == 512 {
			VPERMPS(t0, idx, out)
			return
		}
		up, sel := YMM(), YMM()
		VPERMPS(t0, idx, out)
		VPERMPS(t1, idx, up)
		VPSLLD(operand.Imm(28), idx, sel) // bit 3 becomes the sign
		VBLENDVPS(sel, up, out, out)
	}
	and := func(a, b, out reg.VecVirtual) {
		if bits == 512 {
			VPANDD(a, b, out)
		} else {
			VPAND(a, b, out)
		}
	}
	round := func(x reg.VecVirtual) {
		r := vec(bits)
		VPSRLD(operand.Imm(16), x, r)
		and(one, r, r)
		VPADDD(bias, r, r)
		VPADDD(r, x, x)
	}
	Label("loop")
	c, hi, lo, s := vec(bits), vec(bits), vec(bits), vec(bits)
	VPMOVZXBD(operand.Mem{Base: codes}, c)
	VMOVUPS(operand.Mem{Base: scale}, s)
	VPSRLD(operand.Imm(4), c, hi)
	and(low, c, lo)
	x, y := vec(bits), vec(bits)
	look(hi, x)
	look(lo, y)
	VMULPS(s, x, x)
	VMULPS(s, y, y)
	if half {
		round(x)
		round(y)
		VPSRLD(operand.Imm(16), x, x)
		and(high, y, y)
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
	ADDQ(operand.Imm(uint64(bits/32)), codes)
	ADDQ(operand.Imm(uint64(bits/8)), scale)
	DECQ(n)
	JNZ(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}
