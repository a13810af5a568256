package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// What becomes of what c holds: 0 takes no notice of it, added adds it to the sums, chained begins the sums with it.
const (
	added   = 1
	chained = 2
)

// mm is the product without packing: all m rows against one panel of b, 64 columns (masked) for AVX-512 and 16 for AVX2, in tiles of six
// rows; for AVX-512 also at most 32 columns in tiles of eight rows, for heads of that size.
func (i isa) mm() {
	if i.wide() {
		i.product("mm", 4, 6)
		i.product("mmNarrow", 2, 8)
	} else {
		i.product("mm", 2, 6)
	}
}

// product writes one of them: tiles of rows rows and nv vectors.
func (i isa) product(name string, nv, rows int) {
	mask := ""
	if i.wide() {
		mask = ", mask uint64"
	}
	i.text(name, "m, k int, a *float32, ars, acs int, b *float32, ldb int, c *float32, ldc int, acc int"+mask, "")
	var ks []reg.OpmaskVirtual
	if i.wide() {
		r := ptr("mask")
		for range nv {
			kk := K()
			KMOVW(r.As32(), kk)
			ks = append(ks, kk)
			SHRQ(operand.Imm(16), r)
		}
	}
	m, a, ars, acs, b, ldb, c, ldc := ptr("m"), ptr("a"), ptr("ars"), ptr("acs"), ptr("b"), ptr("ldb"), ptr("c"), ptr("ldc")
	for _, s := range []reg.GPVirtual{ars, acs, ldb, ldc} {
		SHLQ(operand.Imm(2), s)
	}
	loadB := func(j int, from operand.Mem, to reg.VecVirtual) {
		if i.wide() {
			VMOVUPS_Z(from, ks[j], to)
		} else {
			VMOVUPS(from, to)
		}
	}
	tile := func(rows int) {
		name := func(s string) string { return fmt.Sprintf("%s%d", s, rows) }
		bp, n, cp := GP64(), GP64(), GP64()
		var at []reg.GPVirtual // of every third row
		for r := 0; r < rows; r += 3 {
			p := GP64()
			if r == 0 {
				MOVQ(a, p)
			} else {
				LEAQ(operand.Mem{Base: at[len(at)-1], Index: ars, Scale: 2}, p)
				ADDQ(ars, p)
			}
			at = append(at, p)
		}
		MOVQ(b, bp)
		accs := make([][]reg.VecVirtual, rows)
		for r := range accs {
			for range nv {
				accs[r] = append(accs[r], i.zero())
			}
		}
		Load(Param("acc"), n)
		CMPQ(n, operand.Imm(chained))
		JNE(operand.LabelRef(name("zero")))
		MOVQ(c, cp)
		for r := range accs {
			for j := range accs[r] {
				loadB(j, operand.Mem{Base: cp, Disp: j * i.bits / 8}, accs[r][j])
			}
			ADDQ(ldc, cp)
		}
		Label(name("zero"))
		Load(Param("k"), n)
		TESTQ(n, n)
		JE(operand.LabelRef(name("kdone")))
		Label(name("kloop"))
		bv := make([]reg.VecVirtual, nv)
		for j := range bv {
			bv[j] = i.reg()
			loadB(j, operand.Mem{Base: bp, Disp: j * i.bits / 8}, bv[j])
		}
		for r := range accs {
			mem, o := operand.Mem{Base: at[r/3]}, r%3
			if o > 0 {
				mem.Index, mem.Scale = ars, uint8(o)
			}
			x := i.reg()
			VBROADCASTSS(mem, x)
			for j := range bv {
				VFMADD231PS(bv[j], x, accs[r][j])
			}
		}
		ADDQ(ldb, bp)
		for _, p := range at {
			ADDQ(acs, p)
		}
		DECQ(n)
		JNE(operand.LabelRef(name("kloop")))
		Label(name("kdone"))
		Load(Param("acc"), n)
		CMPQ(n, operand.Imm(added))
		JNE(operand.LabelRef(name("store")))
		MOVQ(c, cp)
		for r := range accs {
			for j := range accs[r] {
				x := i.reg()
				loadB(j, operand.Mem{Base: cp, Disp: j * i.bits / 8}, x)
				VADDPS(x, accs[r][j], accs[r][j])
			}
			ADDQ(ldc, cp)
		}
		Label(name("store"))
		for r := range accs {
			for j := range accs[r] {
				to := operand.Mem{Base: c, Disp: j * i.bits / 8}
				if i.wide() {
					VMOVUPS(accs[r][j], ks[j], to)
				} else {
					VMOVUPS(accs[r][j], to)
				}
			}
			ADDQ(ldc, c)
		}
	}
	Label("full")
	CMPQ(m, operand.Imm(uint64(rows)))
	JLT(operand.LabelRef("rest"))
	tile(rows)
	LEAQ(operand.Mem{Base: a, Index: ars, Scale: 4}, a)
	if rows == 8 {
		LEAQ(operand.Mem{Base: a, Index: ars, Scale: 4}, a)
	} else {
		LEAQ(operand.Mem{Base: a, Index: ars, Scale: 2}, a)
	}
	SUBQ(operand.Imm(uint64(rows)), m)
	JMP(operand.LabelRef("full"))
	Label("rest")
	for rows := rows - 1; rows >= 1; rows-- {
		CMPQ(m, operand.Imm(uint64(rows)))
		JNE(operand.LabelRef(fmt.Sprintf("not%d", rows)))
		tile(rows)
		JMP(operand.LabelRef("end"))
		Label(fmt.Sprintf("not%d", rows))
	}
	Label("end")
	done()
}
