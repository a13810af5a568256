// Command gemm writes the tile kernels of kernels/gemm_tile.go for AVX-512 and for AVX2 with FMA, and the 8×8 transpose that
// packs with.
//
//	go run ./gemm -out ../gemm_amd64.s -stubs ../gemm_stubs_amd64.go -pkg kernels
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!noasm")
	for _, vecs := range []int{1, 2, 3} {
		for rows := 1; rows <= 8; rows++ {
			tile(512, rows, vecs)
		}
	}
	for rows := 1; rows <= 6; rows++ {
		tile(256, rows, 2)
	}
	for _, vecs := range []int{4, 6} {
		for rows := 1; rows <= 2; rows++ {
			tile(256, rows, vecs)
		}
	}
	transpose()
	Generate()
}

func vec(bits int) reg.VecVirtual {
	if bits == 512 {
		return ZMM()
	}
	return YMM()
}

// tile writes the kernel of rows rows and vecs vectors of columns. Its accumulators stay in registers while k runs.
func tile(bits, rows, vecs int) {
	TEXT(fmt.Sprintf("gemm%dx%dv%d", rows, vecs*bits/32, bits), NOSPLIT,
		"func(k int, a *float32, ars, acs int, b *float32, ldb int, c *float32, ldc int, alpha float32, add int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("gemm%dx%dv%d is tileFunc for %d rows and %d columns.", rows, vecs*bits/32, bits, rows, vecs*bits/32))
	arg := func(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }
	k, a, ars, acs, b, ldb := arg("k"), arg("a"), arg("ars"), arg("acs"), arg("b"), arg("ldb")
	for _, s := range []reg.GPVirtual{ars, acs, ldb} {
		SHLQ(operand.Imm(2), s)
	}
	// The rows of A lie at a and a4, each plus 0 to 3 times ars.
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
	acc := make([][]reg.VecVirtual, rows)
	for r := range acc {
		for range vecs {
			z := vec(bits)
			if bits == 512 {
				VPXORD(z, z, z)
			} else {
				VXORPS(z, z, z)
			}
			acc[r] = append(acc[r], z)
		}
	}
	if rows*vecs >= 8 && bits == 256 {
		// The lines of C are called for before they are needed: going down a column of tiles, nothing else foresees them.
		c, ldc := arg("c"), arg("ldc")
		for r := range rows {
			PREFETCHT0(operand.Mem{Base: c})
			PREFETCHT0(operand.Mem{Base: c, Disp: vecs*bits/8 - 4})
			if r < rows-1 {
				LEAQ(operand.Mem{Base: c, Index: ldc, Scale: 4}, c)
			}
		}
	}
	if bits == 256 && vecs > 2 {
		x, y := narrowLoop(k, a, acs, b, ldb, at, acc)
		tail(bits, rows, vecs, arg, acc, x, y)
		return
	}
	bv := make([]reg.VecVirtual, vecs)
	for j := range bv {
		bv[j] = vec(bits)
	}
	x := vec(bits)
	Label("loop")
	for j := range bv {
		VMOVUPS(operand.Mem{Base: b, Disp: j * bits / 8}, bv[j])
	}
	for r := range acc {
		if bits == 512 && vecs == 1 {
			VFMADD231PS_BCST(at(r), bv[0], acc[r][0])
			continue
		}
		VBROADCASTSS(at(r), x)
		for j := range bv {
			VFMADD231PS(bv[j], x, acc[r][j])
		}
	}
	ADDQ(acs, a)
	if rows > 4 {
		ADDQ(acs, a4)
	}
	ADDQ(ldb, b)
	DECQ(k)
	JNZ(operand.LabelRef("loop"))
	tail(bits, rows, vecs, arg, acc, x, bv)
}

// narrowLoop runs k for one or two rows: B passes through one register, the rows' values stay in others.
func narrowLoop(k, a, acs, b, ldb reg.GPVirtual, at func(int) operand.Mem, acc [][]reg.VecVirtual) (reg.VecVirtual, []reg.VecVirtual) {
	x, y := make([]reg.VecVirtual, len(acc)), YMM()
	for r := range x {
		x[r] = YMM()
	}
	Label("loop")
	for r := range x {
		VBROADCASTSS(at(r), x[r])
	}
	for j := range acc[0] {
		VMOVUPS(operand.Mem{Base: b, Disp: j * 32}, y)
		for r := range x {
			VFMADD231PS(y, x[r], acc[r][j])
		}
	}
	ADDQ(acs, a)
	ADDQ(ldb, b)
	DECQ(k)
	JNZ(operand.LabelRef("loop"))
	return x[0], []reg.VecVirtual{y}
}

// tail scales the accumulators and writes them to C, or adds them.
func tail(bits, rows, vecs int, arg func(string) reg.GPVirtual, acc [][]reg.VecVirtual, x reg.VecVirtual, free []reg.VecVirtual) {
	c, ldc, add := arg("c"), arg("ldc"), arg("add")
	SHLQ(operand.Imm(2), ldc)
	alpha, err := Param("alpha").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(alpha.Addr, x)
	to := func(j int) operand.Mem { return operand.Mem{Base: c, Disp: j * bits / 8} }
	TESTQ(add, add)
	JNZ(operand.LabelRef("add"))
	for r := range acc {
		for j := range vecs {
			VMULPS(x, acc[r][j], acc[r][j])
			VMOVUPS(acc[r][j], to(j))
		}
		if r < rows-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
	Label("add")
	for r := range acc {
		for j := range vecs {
			y := free[j%len(free)]
			VMOVUPS(to(j), y)
			VFMADD231PS(x, acc[r][j], y)
			VMOVUPS(y, to(j))
		}
		if r < rows-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}

// transpose writes the transpose of 8 rows into rows of 8, eight columns a step.
func transpose() {
	TEXT("transpose8", NOSPLIT, "func(n int, src *float32, ss int, dst *float32, ds int)")
	Pragma("noescape")
	Doc("transpose8 writes 8 rows of 8n values at src, ss apart, as 8n rows of 8 values at dst, ds apart.")
	arg := func(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }
	n, src, ss, dst, ds := arg("n"), arg("src"), arg("ss"), arg("dst"), arg("ds")
	SHLQ(operand.Imm(2), ss)
	SHLQ(operand.Imm(2), ds)
	s4, s3, d4, d3 := GP64(), GP64(), GP64(), GP64()
	LEAQ(operand.Mem{Base: src, Index: ss, Scale: 4}, s4)
	LEAQ(operand.Mem{Base: ss, Index: ss, Scale: 2}, s3)
	LEAQ(operand.Mem{Base: dst, Index: ds, Scale: 4}, d4)
	LEAQ(operand.Mem{Base: ds, Index: ds, Scale: 2}, d3)
	row := func(r int, lo, hi, s, s3 reg.GPVirtual) operand.Mem {
		if r >= 4 {
			lo = hi
		}
		switch r % 4 {
		case 1:
			return operand.Mem{Base: lo, Index: s, Scale: 1}
		case 2:
			return operand.Mem{Base: lo, Index: s, Scale: 2}
		case 3:
			return operand.Mem{Base: lo, Index: s3, Scale: 1}
		}
		return operand.Mem{Base: lo}
	}
	Label("loop")
	var x, y [8]reg.VecVirtual
	for r := range x {
		x[r], y[r] = YMM(), YMM()
	}
	for r := range x {
		VMOVUPS(row(r, src, s4, ss, s3), x[r])
	}
	for r := 0; r < 8; r += 2 { // pairs of rows
		VUNPCKLPS(x[r+1], x[r], y[r])
		VUNPCKHPS(x[r+1], x[r], y[r+1])
	}
	for r := 0; r < 8; r += 4 { // x[r+q] holds columns q and q+4 of rows r to r+3
		VSHUFPS(operand.Imm(0x44), y[r+2], y[r], x[r])
		VSHUFPS(operand.Imm(0xee), y[r+2], y[r], x[r+1])
		VSHUFPS(operand.Imm(0x44), y[r+3], y[r+1], x[r+2])
		VSHUFPS(operand.Imm(0xee), y[r+3], y[r+1], x[r+3])
	}
	for q := range 4 {
		VPERM2F128(operand.Imm(0x20), x[4+q], x[q], y[q])
		VPERM2F128(operand.Imm(0x31), x[4+q], x[q], y[4+q])
	}
	for r := range y {
		VMOVUPS(y[r], row(r, dst, d4, ds, d3))
	}
	ADDQ(operand.Imm(32), src)
	ADDQ(operand.Imm(32), s4)
	LEAQ(operand.Mem{Base: dst, Index: ds, Scale: 8}, dst)
	LEAQ(operand.Mem{Base: d4, Index: ds, Scale: 8}, d4)
	DECQ(n)
	JNZ(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}
