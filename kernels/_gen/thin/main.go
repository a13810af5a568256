// Command thin writes what the products of kernels/gemm_thin.go run on AVX2 with FMA: a column of tiles of 6×16, and the packing of their
// rows.
//
//	go run ./thin -out ../thin_amd64.s -stubs ../thin_stubs_amd64.go -pkg kernels
package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A tile's rows, and its columns as vectors.
const (
	rows = 6
	vecs = 2
)

func main() {
	ConstraintExpr("!noasm")
	column()
	pack()
	Generate()
}

func arg(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }

// scaled is an argument that counts values, in bytes.
func scaled(name string) reg.GPVirtual {
	r := arg(name)
	SHLQ(operand.Imm(2), r)
	return r
}

// column writes thinColumn256. While the rows pass by, four tiles together call for what is to come of B: no part of it is met twice in a
// unit, and the processor foresees only some of it.
func column() {
	TEXT("thinColumn256", NOSPLIT,
		"func(tiles, k int, a, b *float32, ldb int, next *float32, c *float32, ldc int, alpha float32, add int)")
	Pragma("noescape")
	Doc("thinColumn256 computes tiles of 6×16, one below the other, as tileFunc would: a tile's A is k times 6 values, the next",
		"tile's behind it. next is what B will be next.")
	tiles, a, b, ldb, next := arg("tiles"), arg("a"), arg("b"), scaled("ldb"), arg("next")
	c, ldc, add := arg("c"), scaled("ldc"), arg("add")
	ldb3 := GP64()
	LEAQ(operand.Mem{Base: ldb, Index: ldb, Scale: 2}, ldb3)
	var acc [rows][vecs]reg.VecVirtual
	for r := range acc {
		for j := range acc[r] {
			acc[r][j] = YMM()
		}
	}
	each := func(f func(r, j int, z reg.VecVirtual)) {
		for r := range acc {
			for j, z := range acc[r] {
				f(r, j, z)
			}
		}
	}

	Label("tile")
	each(func(_, _ int, z reg.VecVirtual) { VXORPS(z, z, z) })
	// The lines of C are called for before they are needed: going down a column of tiles, nothing else foresees them.
	p := GP64()
	MOVQ(c, p)
	for r := range rows {
		PREFETCHT0(operand.Mem{Base: p})
		PREFETCHT0(operand.Mem{Base: p, Disp: 32*vecs - 4})
		if r < rows-1 {
			ADDQ(ldc, p)
		}
	}
	bp, n := GP64(), arg("k")
	MOVQ(tiles, p)
	ANDQ(operand.Imm(3), p)
	IMULQ(ldb, p)
	ADDQ(next, p)
	MOVQ(b, bp)
	bv, x := [vecs]reg.VecVirtual{YMM(), YMM()}, YMM()
	step := func(q int, at operand.Mem) {
		for j := range bv {
			VMOVUPS(at.Offset(32*j), bv[j])
		}
		for r := range acc {
			VBROADCASTSS(operand.Mem{Base: a, Disp: 4 * (q*rows + r)}, x)
			for j := range bv {
				VFMADD231PS(bv[j], x, acc[r][j])
			}
		}
	}
	SUBQ(operand.Imm(4), n)
	JLT(operand.LabelRef("few"))
	Label("four")
	PREFETCHT1(operand.Mem{Base: p})
	step(0, operand.Mem{Base: bp})
	step(1, operand.Mem{Base: bp, Index: ldb, Scale: 1})
	step(2, operand.Mem{Base: bp, Index: ldb, Scale: 2})
	step(3, operand.Mem{Base: bp, Index: ldb3, Scale: 1})
	ADDQ(operand.Imm(4*4*rows), a)
	LEAQ(operand.Mem{Base: bp, Index: ldb, Scale: 4}, bp)
	LEAQ(operand.Mem{Base: p, Index: ldb, Scale: 4}, p)
	SUBQ(operand.Imm(4), n)
	JGE(operand.LabelRef("four"))
	Label("few")
	ADDQ(operand.Imm(4), n)
	JZ(operand.LabelRef("summed"))
	Label("one")
	step(0, operand.Mem{Base: bp})
	ADDQ(operand.Imm(4*rows), a)
	ADDQ(ldb, bp)
	DECQ(n)
	JNZ(operand.LabelRef("one"))
	Label("summed")

	alpha, err := Param("alpha").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(alpha.Addr, x)
	TESTQ(add, add)
	JNZ(operand.LabelRef("add"))
	each(func(r, j int, z reg.VecVirtual) {
		VMULPS(x, z, z)
		VMOVUPS(z, operand.Mem{Base: c, Disp: 32 * j})
		if j == vecs-1 {
			ADDQ(ldc, c)
		}
	})
	DECQ(tiles)
	JNZ(operand.LabelRef("tile"))
	VZEROUPPER()
	RET()
	Label("add")
	each(func(r, j int, z reg.VecVirtual) {
		VMOVUPS(operand.Mem{Base: c, Disp: 32 * j}, bv[j])
		VFMADD231PS(x, z, bv[j])
		VMOVUPS(bv[j], operand.Mem{Base: c, Disp: 32 * j})
		if j == vecs-1 {
			ADDQ(ldc, c)
		}
	})
	DECQ(tiles)
	JNZ(operand.LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// pack writes thinPack256: eight values of six rows are transposed in registers; each vector's last two lanes, of no row, are written over
// by the next.
func pack() {
	TEXT("thinPack256", NOSPLIT, "func(n int, src *float32, ss int, dst *float32)")
	Pragma("noescape")
	Doc("thinPack256 writes 6 rows of 8n values at src, ss apart, as 8n rows of 6 values at dst, and 2 values more.")
	n, src, ss, dst := arg("n"), arg("src"), scaled("ss"), arg("dst")
	ss3, src3 := GP64(), GP64()
	LEAQ(operand.Mem{Base: ss, Index: ss, Scale: 2}, ss3)
	LEAQ(operand.Mem{Base: src, Index: ss3, Scale: 1}, src3)
	var x, y, z [8]reg.VecVirtual
	for r := range x {
		x[r], y[r], z[r] = YMM(), YMM(), YMM()
	}
	Label("loop")
	for r := range rows {
		base, o := src, r
		if r >= 3 {
			base, o = src3, r-3
		}
		m := operand.Mem{Base: base}
		if o > 0 {
			m.Index, m.Scale = ss, uint8(o)
		}
		VMOVUPS(m, x[r])
	}
	for r := 0; r < rows; r += 2 { // pairs of rows
		VUNPCKLPS(x[r+1], x[r], y[r])
		VUNPCKHPS(x[r+1], x[r], y[r+1])
	}
	// z[q] holds rows 0 to 3 of the columns q and q+4; x[q] the rows 4 and 5 of them, in the low half of each lane.
	VSHUFPS(operand.Imm(0x44), y[2], y[0], z[0])
	VSHUFPS(operand.Imm(0xee), y[2], y[0], z[1])
	VSHUFPS(operand.Imm(0x44), y[3], y[1], z[2])
	VSHUFPS(operand.Imm(0xee), y[3], y[1], z[3])
	high := [4]reg.VecVirtual{y[4], x[0], y[5], x[1]}
	VSHUFPS(operand.Imm(0xee), y[4], y[4], x[0])
	VSHUFPS(operand.Imm(0xee), y[5], y[5], x[1])
	for q := range 4 {
		VPERM2F128(operand.Imm(0x20), high[q], z[q], x[2])
		VMOVUPS(x[2], operand.Mem{Base: dst, Disp: 4 * rows * q})
	}
	for q := range 4 {
		VPERM2F128(operand.Imm(0x31), high[q], z[q], x[2])
		VMOVUPS(x[2], operand.Mem{Base: dst, Disp: 4 * rows * (4 + q)})
	}
	ADDQ(operand.Imm(32), src)
	ADDQ(operand.Imm(32), src3)
	ADDQ(operand.Imm(4*8*rows), dst)
	DECQ(n)
	JNZ(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}
