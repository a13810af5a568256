// Command across writes the products of a few rows with a matrix whose columns lie one after the other: a block of columns is read where
// it lies and turned in registers.
//
//	go run ./across -out ../across_amd64.s -stubs ../across_stubs_amd64.go -pkg kernels
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!noasm")
	for _, v := range []struct{ bits, rows int }{{512, 8}, {256, 4}} {
		for rows := 1; rows <= v.rows; rows++ {
			across(v.bits, rows)
		}
	}
	Generate()
}

func vec(bits int) reg.VecVirtual {
	if bits == 512 {
		return ZMM()
	}
	return YMM()
}

// four are addresses of up to 16 rows, some bytes apart.
type four struct {
	base        []reg.GPVirtual // of the rows 0, 4, 8 and 12
	step, step3 reg.GPVirtual
}

func newFour(rows int, base, step reg.GPVirtual) *four {
	f := &four{base: []reg.GPVirtual{base}, step: step}
	if rows > 3 {
		f.step3 = GP64()
		LEAQ(operand.Mem{Base: step, Index: step, Scale: 2}, f.step3)
	}
	for r := 4; r < rows; r += 4 {
		next := GP64()
		LEAQ(operand.Mem{Base: f.base[r/4-1], Index: step, Scale: 4}, next)
		f.base = append(f.base, next)
	}
	return f
}

func (f *four) at(r, disp int) operand.Mem {
	m := operand.Mem{Base: f.base[r/4], Disp: disp}
	switch r % 4 {
	case 1:
		m.Index, m.Scale = f.step, 1
	case 2:
		m.Index, m.Scale = f.step, 2
	case 3:
		m.Index, m.Scale = f.step3, 1
	}
	return m
}

func (f *four) advance(by operand.Op) {
	for _, b := range f.base {
		ADDQ(by, b)
	}
}

// across writes the kernel of rows rows. A block is as many columns as a vector has values, and takes as many values of each at a time.
func across(bits, rows int) {
	lanes := bits / 32
	name := fmt.Sprintf("across%dv%d", rows, bits)
	TEXT(name, NOSPLIT, "func(n, k int, a *float32, ars int, b *float32, bcs int, c *float32, ldc int, alpha float32, add, ahead int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is acrossFunc for %d rows and n blocks of %d columns.", name, rows, lanes))
	arg := func(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }
	param := func(name string) operand.Mem {
		p, err := Param(name).Resolve()
		if err != nil {
			panic(err)
		}
		return p.Addr
	}
	ars, bcs := arg("ars"), arg("bcs")
	SHLQ(operand.Imm(2), ars)
	SHLQ(operand.Imm(2), bcs)
	a, b, c := arg("a"), arg("b"), arg("c")
	x, w := newFour(rows, a, ars), newFour(lanes, b, bcs)
	left := GP64()

	Label("block")
	acc := make([]reg.VecVirtual, rows)
	for r := range acc {
		acc[r] = vec(bits)
		if bits == 512 {
			VPXORD(acc[r], acc[r], acc[r])
		} else {
			VXORPS(acc[r], acc[r], acc[r])
		}
	}
	bcast := vec(bits)
	multiply := func(q int, col reg.VecVirtual) {
		for r := range acc {
			if bits == 512 {
				VFMADD231PS_BCST(x.at(r, 4*q), col, acc[r])
				continue
			}
			VBROADCASTSS(x.at(r, 4*q), bcast)
			VFMADD231PS(bcast, col, acc[r])
		}
	}
	MOVQ(param("k"), left)
	SUBQ(operand.Imm(uint64(lanes)), left)
	JLT(operand.LabelRef("rest"))
	Label("whole")
	{
		ahead := arg("ahead")
		ADDQ(w.base[0], ahead)
		for i := range lanes { // the lines that come next
			switch {
			case i%4 == 0 && i > 0:
				LEAQ(operand.Mem{Base: ahead, Index: bcs, Scale: 4}, ahead)
			}
			m := w.at(i, 0)
			m.Base = ahead
			PREFETCHT0(m)
		}
	}
	t := make([]reg.VecVirtual, lanes)
	for i := range t {
		t[i] = vec(bits)
		VMOVUPS(w.at(i, 0), t[i])
	}
	for q, col := range turn(bits, t) {
		multiply(q, col)
	}
	x.advance(operand.Imm(uint64(bits / 8)))
	w.advance(operand.Imm(uint64(bits / 8)))
	SUBQ(operand.Imm(uint64(lanes)), left)
	JGE(operand.LabelRef("whole"))

	Label("rest") // fewer values of each column
	ADDQ(operand.Imm(uint64(lanes)), left)
	JZ(operand.LabelRef("done"))
	t = make([]reg.VecVirtual, lanes)
	if bits == 512 {
		mask := GP64()
		MOVQ(operand.I32(-1), mask)
		BZHIQ(left, mask, mask)
		k := K()
		KMOVW(mask.As32(), k)
		for i := range t {
			t[i] = vec(bits)
			VMOVUPS_Z(w.at(i, 0), k, t[i])
		}
	} else {
		mask, from := vec(bits), GP64()
		LEAQ(masks(), from)
		SHLQ(operand.Imm(2), left)
		SUBQ(left, from)
		SHRQ(operand.Imm(2), left)
		VMOVUPS(operand.Mem{Base: from, Disp: 32}, mask)
		for i := range t {
			t[i] = vec(bits)
			VMASKMOVPS(w.at(i, 0), mask, t[i])
		}
	}
	for q, col := range turn(bits, t) {
		if q == lanes-1 {
			break
		}
		multiply(q, col)
		CMPQ(left, operand.Imm(uint64(q+1)))
		JEQ(operand.LabelRef("done"))
	}

	Label("done")
	alpha, to, ldc := vec(bits), GP64(), arg("ldc")
	SHLQ(operand.Imm(2), ldc)
	VBROADCASTSS(param("alpha"), alpha)
	MOVQ(c, to)
	add := arg("add")
	TESTQ(add, add)
	JNZ(operand.LabelRef("add"))
	for r := range acc {
		VMULPS(alpha, acc[r], acc[r])
		VMOVUPS(acc[r], operand.Mem{Base: to})
		if r < rows-1 {
			ADDQ(ldc, to)
		}
	}
	JMP(operand.LabelRef("next"))
	Label("add")
	y := vec(bits)
	for r := range acc {
		VMOVUPS(operand.Mem{Base: to}, y)
		VFMADD231PS(alpha, acc[r], y)
		VMOVUPS(y, operand.Mem{Base: to})
		if r < rows-1 {
			ADDQ(ldc, to)
		}
	}
	Label("next")
	ADDQ(operand.Imm(uint64(bits/8)), c)
	// Back to the beginning of A, and on to the next columns of B: as many bytes on as a block's columns lie apart, less what was read.
	read, on := GP64(), GP64()
	MOVQ(param("k"), read)
	ANDQ(operand.I32(int32(-lanes)), read)
	SHLQ(operand.Imm(2), read)
	for _, p := range x.base {
		SUBQ(read, p)
	}
	MOVQ(bcs, on)
	SHLQ(operand.Imm(uint64(log2(lanes))), on)
	SUBQ(read, on)
	w.advance(on)
	n := param("n")
	DECQ(n)
	JNZ(operand.LabelRef("block"))
	VZEROUPPER()
	RET()
}

func log2(n int) (l int) {
	for ; n > 1; n /= 2 {
		l++
	}
	return l
}

var maskAt *operand.Mem

// masks are eight words of ones and eight of zeros.
func masks() operand.Mem {
	if maskAt == nil {
		m := GLOBL("acrossMasks", 8|16) // RODATA|NOPTR
		for i := range 16 {             // in order, as the assembler wants them
			DATA(4*i, operand.U32(map[bool]uint32{true: 0xffffffff}[i < 8]))
		}
		maskAt = &m
	}
	return *maskAt
}

// turn returns the columns of a square of registers.
func turn(bits int, x []reg.VecVirtual) []reg.VecVirtual {
	y := make([]reg.VecVirtual, len(x))
	for i := range y {
		y[i] = vec(bits)
	}
	for r := 0; r < len(x); r += 2 { // pairs of rows
		VUNPCKLPS(x[r+1], x[r], y[r])
		VUNPCKHPS(x[r+1], x[r], y[r+1])
	}
	z := make([]reg.VecVirtual, len(x))
	for r := 0; r < len(x); r += 4 { // z[r+q] holds, in each lane of four values, a column of rows r to r+3
		for q := range 4 {
			z[r+q] = vec(bits)
		}
		VUNPCKLPD(y[r+2], y[r], z[r])
		VUNPCKHPD(y[r+2], y[r], z[r+1])
		VUNPCKLPD(y[r+3], y[r+1], z[r+2])
		VUNPCKHPD(y[r+3], y[r+1], z[r+3])
	}
	out := make([]reg.VecVirtual, len(x))
	for i := range out {
		out[i] = vec(bits)
	}
	if bits == 256 {
		for q := range 4 {
			VPERM2F128(operand.Imm(0x20), z[4+q], z[q], out[q])
			VPERM2F128(operand.Imm(0x31), z[4+q], z[q], out[4+q])
		}
		return out
	}
	for q := range 4 {
		var h [4]reg.VecVirtual
		for i := range h {
			h[i] = vec(bits)
		}
		VSHUFF32X4(operand.Imm(0x88), z[4+q], z[q], h[0])    // lanes 0 and 2 of rows 0 to 3, then of 4 to 7
		VSHUFF32X4(operand.Imm(0xdd), z[4+q], z[q], h[1])    // lanes 1 and 3
		VSHUFF32X4(operand.Imm(0x88), z[12+q], z[8+q], h[2]) // the same of rows 8 to 15
		VSHUFF32X4(operand.Imm(0xdd), z[12+q], z[8+q], h[3])
		VSHUFF32X4(operand.Imm(0x88), h[2], h[0], out[q])
		VSHUFF32X4(operand.Imm(0x88), h[3], h[1], out[4+q])
		VSHUFF32X4(operand.Imm(0xdd), h[2], h[0], out[8+q])
		VSHUFF32X4(operand.Imm(0xdd), h[3], h[1], out[12+q])
	}
	return out
}
