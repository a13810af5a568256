package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// mm is the product without packing: all m rows against one panel of b, 64 columns (masked) for AVX-512 and 16 for AVX2, in tiles of six rows.
func (i isa) mm() {
	mask := ""
	if i.wide() {
		mask = ", mask uint64"
	}
	i.text("mm", "m, k int, a *float32, ars, acs int, b *float32, ldb int, c *float32, ldc int, acc int"+mask, "")
	nv := 2
	var ks []reg.OpmaskVirtual
	if i.wide() {
		nv = 4
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
		ap, a3, bp, n, cp := GP64(), GP64(), GP64(), GP64(), GP64()
		MOVQ(a, ap)
		LEAQ(operand.Mem{Base: a, Index: ars, Scale: 2}, a3)
		ADDQ(ars, a3)
		MOVQ(b, bp)
		accs := make([][]reg.VecVirtual, rows)
		for r := range accs {
			for range nv {
				accs[r] = append(accs[r], i.zero())
			}
		}
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
			base, o := ap, r
			if r >= 3 {
				base, o = a3, r-3
			}
			mem := operand.Mem{Base: base}
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
		ADDQ(acs, ap)
		ADDQ(acs, a3)
		DECQ(n)
		JNE(operand.LabelRef(name("kloop")))
		Label(name("kdone"))
		Load(Param("acc"), n)
		TESTQ(n, n)
		JE(operand.LabelRef(name("store")))
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
	Label("six")
	CMPQ(m, operand.Imm(6))
	JLT(operand.LabelRef("rest"))
	tile(6)
	LEAQ(operand.Mem{Base: a, Index: ars, Scale: 4}, a)
	LEAQ(operand.Mem{Base: a, Index: ars, Scale: 2}, a)
	SUBQ(operand.Imm(6), m)
	JMP(operand.LabelRef("six"))
	Label("rest")
	for rows := 5; rows >= 1; rows-- {
		CMPQ(m, operand.Imm(uint64(rows)))
		JNE(operand.LabelRef(fmt.Sprintf("not%d", rows)))
		tile(rows)
		JMP(operand.LabelRef("end"))
		Label(fmt.Sprintf("not%d", rows))
	}
	Label("end")
	done()
}
