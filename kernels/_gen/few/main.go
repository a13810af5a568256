// Command few writes the kernels of products of a few rows with matrices of 4- and 8-bit codes, whose values are expanded in registers,
// and the loop that reads memory as fast as it comes.
//
//	go run ./few -out ../few_amd64.s -stubs ../few_stubs_amd64.go -pkg kernels
//
// The assembler of Go knows neither VDPBF16PS nor VCVTNE2PS2BF16, and avo not VPDPWSSD, so that they are written as bytes, with registers
// chosen here.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	vecs    = 3 // of 16 columns, in a panel
	mostRow = 8
)

func main() {
	ConstraintExpr("!noasm")
	pairs = GLOBL("fewPairs", 8|16) // RODATA|NOPTR
	for i := range 16 {
		DATA(4*i, operand.U32(i|(16+i)<<16))
	}
	for rows := 1; rows <= mostRow; rows++ {
		codes4Half(rows)
	}
	for rows := 1; rows <= mostRow; rows++ {
		codes4Wide(rows)
	}
	for rows := 1; rows <= mostRow; rows++ {
		codes8(512, rows, false)
	}
	for rows := 1; rows <= mostRow; rows++ {
		codes8(512, rows, true)
	}
	for rows := 1; rows <= 2; rows++ {
		codes8(256, rows, false)
	}
	for rows := 1; rows <= mostRow; rows++ {
		widened(512, rows)
	}
	for rows := 1; rows <= 2; rows++ {
		widened(256, rows)
	}
	read(512)
	read(256)
	Generate()
}

// pairs is the order that makes pairs of the sixteen first and the sixteen second values of columns.
var pairs operand.Mem

var zmm = []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10,
	reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15, reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
	reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}

// evex writes an instruction of map 0F38 on 512-bit registers: prefix 1 is 66, 2 is F3, 3 is F2.
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

func arg(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }

// rowsOf are the rows of A, which lie at a and a4, each plus 0 to 3 times the distance of two rows in bytes.
type rowsOf struct {
	a, a4, ars, ars3 reg.GPVirtual
	n                int
}

func newRows(n int, a, ars reg.GPVirtual) *rowsOf {
	r := &rowsOf{a: a, ars: ars, n: n}
	if n > 3 {
		r.ars3 = GP64()
		LEAQ(operand.Mem{Base: ars, Index: ars, Scale: 2}, r.ars3)
	}
	if n > 4 {
		r.a4 = GP64()
		LEAQ(operand.Mem{Base: a, Index: ars, Scale: 4}, r.a4)
	}
	return r
}

func (r *rowsOf) at(i, disp int) operand.Mem {
	m := operand.Mem{Base: r.a, Disp: disp}
	if i >= 4 {
		m.Base = r.a4
	}
	switch i % 4 {
	case 1:
		m.Index, m.Scale = r.ars, 1
	case 2:
		m.Index, m.Scale = r.ars, 2
	case 3:
		m.Index, m.Scale = r.ars3, 1
	}
	return m
}

func (r *rowsOf) step(bytes uint64) {
	ADDQ(operand.Imm(bytes), r.a)
	if r.n > 4 {
		ADDQ(operand.Imm(bytes), r.a4)
	}
}

// tail writes the sums to C, or adds them.
func tail(bits int, acc [][]reg.VecPhysical) {
	c, ldc, add := arg("c"), arg("ldc"), arg("add")
	SHLQ(operand.Imm(2), ldc)
	for _, adds := range []bool{false, true} {
		if adds {
			Label("add")
		} else {
			TESTQ(add, add)
			JNZ(operand.LabelRef("add"))
		}
		for r := range acc {
			for j, x := range acc[r] {
				to := operand.Mem{Base: c, Disp: j * bits / 8}
				if adds {
					VADDPS(to, x, x)
				}
				VMOVUPS(x, to)
			}
			if r < len(acc)-1 {
				ADDQ(ldc, c)
			}
		}
		VZEROUPPER()
		RET()
	}
}

// blocks runs body for each pair of the inner dimension, of which first lie in the first block of scales and block in each of the others.
// begin is called before a block, next after it.
func blocks(begin, body, next func()) {
	left, first, block := arg("n"), arg("first"), arg("block")
	n := first
	Label("block")
	CMPQ(n, left)
	CMOVQGT(left, n)
	SUBQ(n, left)
	begin()
	Label("pair")
	body()
	DECQ(n)
	JNZ(operand.LabelRef("pair"))
	next()
	MOVQ(block, n)
	TESTQ(left, left)
	JNZ(operand.LabelRef("block"))
}

const codes4Sig = "(n, first, block int, codes *uint8, scale *float32, lut *float32, a %s, ars int, c *float32, ldc int, add int)"

func sums(rows int) [][]reg.VecPhysical {
	acc := make([][]reg.VecPhysical, rows)
	for r := range acc {
		acc[r] = zmm[r*vecs : (r+1)*vecs]
		for _, x := range acc[r] {
			VPXORD(x, x, x)
		}
	}
	return acc
}

// codes4Half writes the product of rows rows with 48 columns of 4-bit codes in bfloat16.
func codes4Half(rows int) {
	name := fmt.Sprintf("few4Half%d", rows)
	TEXT(name, NOSPLIT, "func"+fmt.Sprintf(codes4Sig, "*uint16"))
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes %d rows and 48 columns of C from n pairs of rows of B, 48 bytes of two codes each: values are lut[code]·"+
		"scale of their column, rounded to bfloat16. Scales lie 48 a block, of which the first has first pairs and the others block; rows "+
		"of A lie ars values apart.", name, rows))
	codes, scale, lut, a, ars := arg("codes"), arg("scale"), arg("lut"), arg("a"), arg("ars")
	SHLQ(operand.Imm(1), ars)
	x := newRows(rows, a, ars)
	acc := sums(rows)
	const order, table, low, shared, shift, weight = 31, 30, 29, 28, 27, 24 // registers; high is shared
	// The scales stay in registers where there is room.
	held := rows*vecs+vecs <= weight
	scales := func(j int) operand.Op {
		if held {
			return zmm[rows*vecs+j]
		}
		return operand.Mem{Base: scale, Disp: 64 * j}
	}
	VMOVUPS(pairs, zmm[order])
	VMOVUPS(operand.Mem{Base: lut}, zmm[table])
	tmp := GP32()
	MOVL(operand.U32(0x10001000), tmp)
	VPBROADCASTD(tmp, zmm[shift])
	blocks(func() {
		if held {
			for j := range vecs {
				VMOVUPS(operand.Mem{Base: scale, Disp: 64 * j}, zmm[rows*vecs+j])
			}
		}
	}, func() {
		for j := range vecs {
			VPMOVZXBD(operand.Mem{Base: codes, Disp: 16 * j}, zmm[low])
			VPMULHUW(zmm[shift], zmm[low], zmm[shared]) // to the right by 4, where there are no shuffles
			VPERMPS(zmm[table], zmm[low], zmm[low])     // the index is its lower four bits
			VPERMPS(zmm[table], zmm[shared], zmm[shared])
			VMULPS(scales(j), zmm[low], zmm[low])
			VMULPS(scales(j), zmm[shared], zmm[shared])
			evex(3, 0x72, weight+j, low, shared) // VCVTNE2PS2BF16
			VPERMW(zmm[weight+j], zmm[order], zmm[weight+j])
		}
		for r := range rows {
			VBROADCASTSS(x.at(r, 0), zmm[shared])
			for j := range vecs {
				evex(2, 0x52, r*vecs+j, shared, weight+j) // VDPBF16PS
			}
		}
		x.step(4)
		ADDQ(operand.Imm(48), codes)
	}, func() { ADDQ(operand.U32(192), scale) })
	tail(512, acc)
}

// codes4Wide writes the same product in float32.
func codes4Wide(rows int) {
	name := fmt.Sprintf("few4Wide%d", rows)
	TEXT(name, NOSPLIT, "func"+fmt.Sprintf(codes4Sig, "*float32"))
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is few4Half%d with float32 values.", name, rows))
	codes, scale, lut, a, ars := arg("codes"), arg("scale"), arg("lut"), arg("a"), arg("ars")
	SHLQ(operand.Imm(2), ars)
	x := newRows(rows, a, ars)
	acc := sums(rows)
	even, odd, table, shift, scales := zmm[24], zmm[25], zmm[26], zmm[27], zmm[28:]
	VMOVUPS(operand.Mem{Base: lut}, table)
	tmp := GP32()
	MOVL(operand.U32(0x10001000), tmp)
	VPBROADCASTD(tmp, shift)
	blocks(func() {
		for j := range vecs {
			VMOVUPS(operand.Mem{Base: scale, Disp: 64 * j}, scales[j])
		}
	}, func() {
		for j := range vecs {
			VPMOVZXBD(operand.Mem{Base: codes, Disp: 16 * j}, odd)
			VPMULHUW(shift, odd, even) // to the right by 4, where there are no shuffles
			VPERMPS(table, even, even)
			VPERMPS(table, odd, odd) // the index is its lower four bits
			VMULPS(scales[j], even, even)
			VMULPS(scales[j], odd, odd)
			for r := range rows {
				VFMADD231PS_BCST(x.at(r, 0), even, acc[r][j])
			}
			for r := range rows {
				VFMADD231PS_BCST(x.at(r, 4), odd, acc[r][j])
			}
		}
		x.step(8)
		ADDQ(operand.Imm(48), codes)
	}, func() { ADDQ(operand.U32(192), scale) })
	tail(512, acc)
}

// ymm are all registers of AVX2.
var ymm = []reg.VecPhysical{reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12,
	reg.Y13, reg.Y14, reg.Y15}

// sums256 are the registers of the sums of rows rows and 48 columns.
func sums256(rows int) (acc [][]reg.VecPhysical) {
	for r := range rows {
		acc = append(acc, ymm[r*2*vecs:(r+1)*2*vecs])
		for _, y := range acc[r] {
			VPXOR(y, y, y)
		}
	}
	return acc
}

// widened writes the product of rows rows with 48 columns of bfloat16 pairs, whose values are widened to float32.
func widened(bits, rows int) {
	name := fmt.Sprintf("fewWidened%dv%d", rows, bits)
	TEXT(name, NOSPLIT, "func(n int, b *uint16, a *float32, ars int, c *float32, ldc int, add int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes %d rows and 48 columns of C from n pairs of rows of B, 48 pairs of bfloat16 values each; rows of A lie "+
		"ars values apart.", name, rows))
	n, b, a, ars := arg("n"), arg("b"), arg("a"), arg("ars")
	SHLQ(operand.Imm(2), ars)
	x := newRows(rows, a, ars)
	var acc [][]reg.VecPhysical
	var free []reg.VecPhysical
	if bits == 512 {
		acc, free = sums(rows), zmm[rows*vecs:]
	} else {
		acc, free = sums256(rows), ymm[rows*2*vecs:]
	}
	even, odd, upper, value := free[0], free[1], free[2], free[3]
	if bits == 512 {
		tmp := GP32()
		MOVL(operand.U32(0xffff0000), tmp)
		VPBROADCASTD(tmp, upper)
	} else { // all ones, to the left by 16
		VPCMPEQD(upper, upper, upper)
		VPSLLD(operand.Imm(16), upper, upper)
	}
	Label("pair")
	PREFETCHT0(operand.Mem{Base: b, Disp: 192 * 8})
	PREFETCHT0(operand.Mem{Base: b, Disp: 192*8 + 64})
	PREFETCHT0(operand.Mem{Base: b, Disp: 192*8 + 128})
	for j := range acc[0] {
		from := operand.Mem{Base: b, Disp: j * bits / 8}
		if bits == 512 {
			VPSLLD(operand.Imm(16), from, even)
			VPANDD(from, upper, odd)
		} else {
			VPAND(from, upper, odd)
			VMOVUPS(from, even)
			VPSLLD(operand.Imm(16), even, even)
		}
		for half, values := range []reg.VecPhysical{even, odd} {
			for r := range rows {
				if bits == 512 {
					VFMADD231PS_BCST(x.at(r, 4*half), values, acc[r][j])
					continue
				}
				VBROADCASTSS(x.at(r, 4*half), value)
				VFMADD231PS(value, values, acc[r][j])
			}
		}
	}
	x.step(8)
	ADDQ(operand.U32(192), b)
	DECQ(n)
	JNZ(operand.LabelRef("pair"))
	tail(bits, acc)
}

// codes8 writes the product of rows rows of 16-bit integers with 48 columns of 8-bit codes; with vnni, products and sums by one
// instruction.
func codes8(bits, rows int, vnni bool) {
	name := fmt.Sprintf("few8x%dv%d", rows, bits)
	if vnni {
		name += "n"
	}
	TEXT(name, NOSPLIT, "func(n int, codes *int8, a *int16, ars int, c *float32, ldc int, add int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes %d rows and 48 columns of C from n pairs of rows of B, 48 pairs of codes each; rows of A lie ars values "+
		"apart. The sums are those of integers.", name, rows))
	n, codes, a, ars := arg("n"), arg("codes"), arg("a"), arg("ars")
	SHLQ(operand.Imm(1), ars)
	x := newRows(rows, a, ars)
	all, acc := zmm, [][]reg.VecPhysical(nil)
	if bits == 512 {
		acc = sums(rows)
	} else {
		all, acc = ymm, sums256(rows)
	}
	free := all[len(acc)*len(acc[0]):]
	Label("pair")
	if bits == 512 {
		for j := range vecs {
			VPMOVSXBW(operand.Mem{Base: codes, Disp: 32 * j}, free[j])
		}
		for r := range rows {
			VPBROADCASTD(x.at(r, 0), free[3])
			for j, y := range acc[r] {
				if vnni {
					evex(1, 0x52, r*vecs+j, rows*vecs+3, rows*vecs+j) // VPDPWSSD
					continue
				}
				VPMADDWD(free[j], free[3], free[4])
				VPADDD(free[4], y, y)
			}
		}
	} else {
		for r := range rows {
			VPBROADCASTD(x.at(r, 0), free[2+r])
		}
		for j := range acc[0] {
			VPMOVSXBW(operand.Mem{Base: codes, Disp: 16 * j}, free[0])
			for r := range rows {
				VPMADDWD(free[0], free[2+r], free[1])
				VPADDD(free[1], acc[r][j], acc[r][j])
			}
		}
	}
	x.step(4)
	ADDQ(operand.Imm(96), codes)
	DECQ(n)
	JNZ(operand.LabelRef("pair"))
	for r := range acc {
		for _, y := range acc[r] {
			VCVTDQ2PS(y, y)
		}
	}
	tail(bits, acc)
}

// read writes the loop that reads memory.
func read(bits int) {
	name := fmt.Sprintf("readMemoryV%d", bits)
	TEXT(name, NOSPLIT, "func(n int, x *byte) uint64")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s reads n blocks of 512 bytes, and returns the exclusive or of some of their bits.", name))
	n, x := arg("n"), arg("x")
	var acc []reg.VecVirtual
	for range 4 {
		y := reg.VecVirtual(YMM())
		if bits == 512 {
			y = ZMM()
			VPXORD(y, y, y)
		} else {
			VPXOR(y, y, y)
		}
		acc = append(acc, y)
	}
	Label("block")
	for i := range 512 / (bits / 8) {
		from, y := operand.Mem{Base: x, Disp: i * bits / 8}, acc[i%len(acc)]
		if bits == 512 {
			VPXORD(from, y, y)
		} else {
			VPXOR(from, y, y)
		}
	}
	ADDQ(operand.U32(512), x)
	DECQ(n)
	JNZ(operand.LabelRef("block"))
	for _, y := range acc[1:] {
		if bits == 512 {
			VPXORD(y, acc[0], acc[0])
		} else {
			VPXOR(y, acc[0], acc[0])
		}
	}
	sum := GP64()
	VMOVQ(acc[0].AsX(), sum)
	Store(sum, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
