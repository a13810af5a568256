package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// fold adds up (or takes the maximum of) the lanes of v, leaving the result in the low lane of an XMM register.
func (i isa) fold(v reg.VecVirtual, op func(...operand.Op)) reg.VecVirtual {
	y := YMM()
	if i.wide() {
		VEXTRACTF64X4(operand.Imm(1), v, y)
		op(v.AsY(), y, y)
	} else {
		y = v
	}
	x := XMM()
	VEXTRACTF128(operand.Imm(1), y, x)
	op(y.AsX(), x, x)
	t := XMM()
	VPSHUFD(operand.Imm(0x4e), x, t)
	op(t, x, x)
	VPSHUFD(operand.Imm(0xb1), x, t)
	op(t, x, x)
	return x
}

// reduce writes a reduction with four accumulators; step adds the vector at mem to acc. n is a multiple of the lanes.
func (i isa) reduce(n reg.GPVirtual, init func() reg.VecVirtual, op func(...operand.Op),
	step func(at func(p reg.GPVirtual) operand.Mem, acc reg.VecVirtual)) {
	var acc [4]reg.VecVirtual
	for j := range acc {
		acc[j] = init()
	}
	idx, last := GP64(), GP64()
	XORQ(idx, idx)
	MOVQ(n, last)
	SUBQ(operand.Imm(uint64(4*i.lanes()-1)), last)
	JMP(operand.LabelRef("check4"))
	Label("loop4")
	for j := range acc {
		step(func(p reg.GPVirtual) operand.Mem {
			return operand.Mem{Base: p, Index: idx, Scale: 4, Disp: j * i.bits / 8}
		}, acc[j])
	}
	ADDQ(operand.Imm(uint64(4*i.lanes())), idx)
	Label("check4")
	CMPQ(idx, last)
	JLT(operand.LabelRef("loop4"))
	JMP(operand.LabelRef("check1"))
	Label("loop1")
	step(func(p reg.GPVirtual) operand.Mem { return operand.Mem{Base: p, Index: idx, Scale: 4} }, acc[0])
	ADDQ(operand.Imm(uint64(i.lanes())), idx)
	Label("check1")
	CMPQ(idx, n)
	JLT(operand.LabelRef("loop1"))
	op(acc[1], acc[0], acc[0])
	op(acc[3], acc[2], acc[2])
	op(acc[2], acc[0], acc[0])
	Store(i.fold(acc[0], op), ReturnIndex(0))
	done()
}

func (i isa) reductions() {
	i.text("sum", "x *float32, n int", "float32")
	x, n := ptr("x"), ptr("n")
	i.reduce(n, i.zero, VADDPS, func(at func(reg.GPVirtual) operand.Mem, acc reg.VecVirtual) { VADDPS(at(x), acc, acc) })

	i.text("sumSqDev", "x *float32, n int, mean float32", "float32")
	x, n = ptr("x"), ptr("n")
	mean := i.scalar("mean")
	i.reduce(n, i.zero, VADDPS, func(at func(reg.GPVirtual) operand.Mem, acc reg.VecVirtual) {
		v := i.load(at(x))
		VSUBPS(mean, v, v)
		VFMADD231PS(v, v, acc)
	})

	i.text("dot", "x, y *float32, n int", "float32")
	x, y, n := ptr("x"), ptr("y"), ptr("n")
	i.reduce(n, i.zero, VADDPS, func(at func(reg.GPVirtual) operand.Mem, acc reg.VecVirtual) {
		VFMADD231PS(at(y), i.load(at(x)), acc)
	})

	i.text("dot3", "x, y, w *float32, n int, mean float32", "float32")
	x, y, w, n := ptr("x"), ptr("y"), ptr("w"), ptr("n")
	mean = i.scalar("mean")
	i.reduce(n, i.zero, VADDPS, func(at func(reg.GPVirtual) operand.Mem, acc reg.VecVirtual) {
		v, u := i.load(at(x)), i.load(at(y))
		VSUBPS(mean, v, v)
		VMULPS(at(w), u, u)
		VFMADD231PS(u, v, acc)
	})

	i.text("max", "x *float32, n int", "float32")
	x, n = ptr("x"), ptr("n")
	minusInf := func() reg.VecVirtual {
		g, r, t := GP32(), i.reg(), XMM()
		MOVL(operand.U32(0xff800000), g)
		VMOVD(g, t)
		VBROADCASTSS(t, r)
		return r
	}
	i.reduce(n, minusInf, VMAXPS, func(at func(reg.GPVirtual) operand.Mem, acc reg.VecVirtual) {
		// The second source is returned when either is NaN: the accumulator, so that NaN is passed over.
		VMAXPS(acc, i.load(at(x)), acc)
	})

	// dot64: products and sums in float64, lanes()/2 of them a step.
	i.text("dot64x", "x, y *float32, n int", "float64")
	x, y, n = ptr("x"), ptr("y"), ptr("n")
	var acc [4]reg.VecVirtual
	for j := range acc {
		acc[j] = i.zero()
	}
	step := i.lanes() / 2
	idx := GP64()
	XORQ(idx, idx)
	JMP(operand.LabelRef("check"))
	Label("loop")
	for j := range acc {
		a, b := i.reg(), i.reg()
		VCVTPS2PD(operand.Mem{Base: x, Index: idx, Scale: 4, Disp: 4 * j * step}, a)
		VCVTPS2PD(operand.Mem{Base: y, Index: idx, Scale: 4, Disp: 4 * j * step}, b)
		VFMADD231PD(a, b, acc[j])
	}
	ADDQ(operand.Imm(uint64(4*step)), idx)
	Label("check")
	CMPQ(idx, n)
	JLT(operand.LabelRef("loop"))
	VADDPD(acc[1], acc[0], acc[0])
	VADDPD(acc[3], acc[2], acc[2])
	VADDPD(acc[2], acc[0], acc[0])
	v := acc[0]
	if i.wide() {
		t := YMM()
		VEXTRACTF64X4(operand.Imm(1), v, t)
		VADDPD(v.AsY(), t, t)
		v = t
	}
	t := XMM()
	VEXTRACTF128(operand.Imm(1), v, t)
	VADDPD(v.AsX(), t, t)
	u := XMM()
	VPSHUFD(operand.Imm(0x4e), t, u)
	VADDPD(u, t, t)
	Store(t, ReturnIndex(0))
	done()
}

func (i isa) elementwise() {
	type at = func(reg.GPVirtual) operand.Mem
	i.text("add", "y, a, b *float32, n int", "")
	y, a, b, n := ptr("y"), ptr("a"), ptr("b"), ptr("n")
	i.loop(n, func(at at) {
		v := i.load(at(a))
		VADDPS(at(b), v, v)
		VMOVUPS(v, at(y))
	})
	done()

	i.text("axpy", "y, x *float32, n int, alpha float32", "")
	y, x, n := ptr("y"), ptr("x"), ptr("n")
	alpha := i.scalar("alpha")
	i.loop(n, func(at at) {
		v := i.load(at(y))
		VFMADD231PS(at(x), alpha, v)
		VMOVUPS(v, at(y))
	})
	done()

	i.text("scale", "x *float32, n int, alpha float32", "")
	x, n = ptr("x"), ptr("n")
	alpha = i.scalar("alpha")
	i.loop(n, func(at at) {
		v := i.reg()
		VMULPS(at(x), alpha, v)
		VMOVUPS(v, at(x))
	})
	done()

	i.text("dsoft", "ds, p *float32, n int, d, scale float32", "")
	ds, p, n := ptr("ds"), ptr("p"), ptr("n")
	d, sc := i.scalar("d"), i.scalar("scale")
	i.loop(n, func(at at) {
		v := i.load(at(ds))
		VSUBPS(d, v, v)
		VMULPS(at(p), v, v)
		VMULPS(sc, v, v)
		VMOVUPS(v, at(ds))
	})
	done()

	i.text("rotate", "y1, y2, x1, x2, c, s *float32, n int, sign float32", "")
	y1, y2, x1, x2, co, si, n := ptr("y1"), ptr("y2"), ptr("x1"), ptr("x2"), ptr("c"), ptr("s"), ptr("n")
	sign := i.scalar("sign")
	i.loop(n, func(at at) {
		a, b, cv, sv := i.load(at(x1)), i.load(at(x2)), i.load(at(co)), i.reg()
		VMULPS(at(si), sign, sv)
		p, q := i.reg(), i.reg()
		VMULPS(sv, b, p)
		VFMSUB231PS(cv, a, p)
		VMULPS(sv, a, q)
		VFMADD231PS(cv, b, q)
		VMOVUPS(p, at(y1))
		VMOVUPS(q, at(y2))
	})
	done()
}

func (i isa) norms() {
	type at = func(reg.GPVirtual) operand.Mem
	i.text("norm", "y, x, w *float32, n int, rstd float32", "")
	y, x, w, n := ptr("y"), ptr("x"), ptr("w"), ptr("n")
	rstd := i.scalar("rstd")
	i.loop(n, func(at at) {
		v := i.reg()
		VMULPS(at(x), rstd, v)
		VMULPS(at(w), v, v)
		VMOVUPS(v, at(y))
	})
	done()

	i.text("normB", "y, x, w, b *float32, n int, mean, rstd float32", "")
	y, x, w, n = ptr("y"), ptr("x"), ptr("w"), ptr("n")
	b := ptr("b")
	mean, rstd := i.scalar("mean"), i.scalar("rstd")
	i.loop(n, func(at at) {
		v := i.load(at(x))
		VSUBPS(mean, v, v)
		VMULPS(rstd, v, v)
		u := i.load(at(w))
		VFMADD213PS(at(b), v, u)
		VMOVUPS(u, at(y))
	})
	done()

	i.text("normBack", "dx, dy, w, x *float32, n int, rstd, mean, c1, c0 float32", "")
	dx, dy, w, x, n := ptr("dx"), ptr("dy"), ptr("w"), ptr("x"), ptr("n")
	rstd, mean = i.scalar("rstd"), i.scalar("mean")
	c1, c0 := i.scalar("c1"), i.scalar("c0")
	i.loop(n, func(at at) {
		g, u, v := i.load(at(dx)), i.load(at(dy)), i.load(at(x))
		VSUBPS(mean, v, v)
		VMULPS(at(w), u, u)
		VFMADD231PS(rstd, u, g)
		VFNMADD231PS(c1, v, g)
		VSUBPS(c0, g, g)
		VMOVUPS(g, at(dx))
	})
	done()

	i.text("normDW", "dw, dy, x *float32, n int, mean, rstd float32", "")
	dw, dy, x, n := ptr("dw"), ptr("dy"), ptr("x"), ptr("n")
	mean, rstd = i.scalar("mean"), i.scalar("rstd")
	i.loop(n, func(at at) {
		g, v := i.load(at(dw)), i.load(at(x))
		VSUBPS(mean, v, v)
		VMULPS(rstd, v, v)
		VFMADD231PS(at(dy), v, g)
		VMOVUPS(g, at(dw))
	})
	done()
}
