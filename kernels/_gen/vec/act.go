package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// exp replaces x by e^x: see exp32 in kernels/exp.go.
func (i isa) exp(x reg.VecVirtual) {
	// The second source is returned when either is NaN.
	VMINPS(x, i.k(89), x)
	VMAXPS(x, i.k(-104), x)
	n, p, r2 := i.reg(), i.reg(), i.reg()
	i.mul(1.44269504088896341, x, n)
	if i.wide() {
		VRNDSCALEPS(operand.Imm(0), n, n)
	} else {
		VROUNDPS(operand.Imm(0), n, n)
	}
	i.fnma231(0.693359375, n, x)
	i.fnma231(-2.12194440e-4, n, x)
	i.set(1.9875691500e-4, p)
	for _, k := range []float64{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		i.fma213(k, x, p)
	}
	VMULPS(x, x, r2)
	VFMADD213PS(x, r2, p)
	i.add(1, p, p)
	if i.wide() {
		VSCALEFPS(n, p, x)
		return
	}
	k, h := i.reg(), i.reg()
	VCVTPS2DQ(n, k)
	VPSRAD(operand.Imm(1), k, h)
	VPSUBD(h, k, k)
	bias := constMem.Offset(constAt[float32inf])
	for _, e := range []reg.VecVirtual{h, k} {
		VPADDD(bias, e, e)
		VPSLLD(operand.Imm(23), e, e)
		VMULPS(e, p, p)
	}
	VMOVAPS(p, x)
}

// sigmoid returns 1/(1+e^-x), with minus = -x given up.
func (i isa) sigmoid(minus reg.VecVirtual) reg.VecVirtual {
	i.exp(minus)
	i.add(1, minus, minus)
	s := i.k(1)
	VDIVPS(minus, s, s)
	return s
}

func (i isa) horner(cs []float64, x reg.VecVirtual) reg.VecVirtual {
	p := i.k(cs[0])
	for _, k := range cs[1:] {
		i.fma213(k, x, p)
	}
	return p
}

// rational is x·a(x²)/b(x²) of x clamped to ±limit; it overwrites x.
func (i isa) rational(a, b []float64, limit float64, x reg.VecVirtual) {
	VMINPS(x, i.k(limit), x)
	VMAXPS(x, i.k(-limit), x)
	x2 := i.reg()
	VMULPS(x, x, x2)
	p := i.horner(a, x2)
	q := i.horner(b, x2)
	VMULPS(p, x, x)
	VDIVPS(q, x, x)
}

func (i isa) exponentials() {
	type at = func(reg.GPVirtual) operand.Mem
	for _, store := range []bool{true, false} {
		name := "expSum"
		if store {
			name = "exp"
		}
		i.text(name, "x *float32, n int, scale, sub float32", "float32")
		x, n := ptr("x"), ptr("n")
		sc, sub := i.scalar("scale"), i.scalar("sub")
		acc := i.zero()
		i.loop(n, func(at at) {
			v := i.load(at(x))
			VFMSUB213PS(sub, sc, v)
			i.exp(v)
			VADDPS(v, acc, acc)
			if store {
				VMOVUPS(v, at(x))
			}
		})
		Store(i.fold(acc, VADDPS), ReturnIndex(0))
		done()
	}

	i.text("softcap", "x *float32, n int, r, limit float32", "")
	x, n := ptr("x"), ptr("n")
	r, limit := i.scalar("r"), i.scalar("limit")
	i.loop(n, func(at at) {
		v := i.reg()
		VMULPS(at(x), r, v)
		i.rational(tanhA, tanhB, 7.90531110763549805, v)
		VMULPS(limit, v, v)
		VMOVUPS(v, at(x))
	})
	done()
}

// value computes act(x) and, when asked, act'(x); x is kept.
func (i isa) value(act string, x reg.VecVirtual, deriv bool) (y, d reg.VecVirtual) {
	y = i.reg()
	d = i.reg()
	switch act {
	case "SiLU":
		m := i.reg()
		i.mul(-1, x, m)
		s := i.sigmoid(m)
		VMULPS(x, s, y)
		if deriv { // s + y(1-s)
			i.set(1, d)
			VSUBPS(s, d, d)
			VFMADD213PS(s, y, d)
		}
	case "GELU":
		e := i.reg()
		i.mul(0.70710678118654752, x, e)
		i.rational(erfA, erfB, 4, e)
		half := i.k(0.5)
		VFMADD213PS(half, half, e)
		VMULPS(x, e, y)
		if deriv { // e + x·φ(x)
			g := i.reg()
			VMULPS(x, x, g)
			i.mul(-0.5, g, g)
			i.exp(g)
			i.mul(0.39894228040143268, g, g)
			VMOVAPS(e, d)
			VFMADD231PS(g, x, d)
		}
	case "GELUTanh":
		x2, m := i.reg(), i.k(0.044715)
		VMULPS(x, x, x2)
		i.fma213(1, x2, m)
		i.mul(2*0.79788456080286536, m, m)
		VMULPS(x, m, m)
		i.mul(-1, m, m)
		s := i.sigmoid(m)
		VMULPS(x, s, y)
		if deriv { // s + y(1-s)·u'
			u := i.k(3 * 0.044715)
			i.fma213(1, x2, u)
			i.mul(2*0.79788456080286536, u, u)
			i.set(1, d)
			VSUBPS(s, d, d)
			VMULPS(y, d, d)
			VFMADD213PS(s, u, d)
		}
	}
	return y, d
}

func (i isa) activations() {
	type at = func(reg.GPVirtual) operand.Mem
	type put = func(a, b reg.VecVirtual, dst operand.Mem)
	for _, act := range []string{"SiLU", "GELU", "GELUTanh"} {
		i.text("act"+act, "y, x *float32, n int", "")
		y, x, n := ptr("y"), ptr("x"), ptr("n")
		i.loop(n, func(at at) {
			v, _ := i.value(act, i.load(at(x)), false)
			VMOVUPS(v, at(y))
		})
		done()

		i.text("actBack"+act, "dx, dy, x *float32, n, add int", "")
		dx, dy, x, n := ptr("dx"), ptr("dy"), ptr("x"), ptr("n")
		i.products(n, func(at at, put put) {
			_, d := i.value(act, i.load(at(x)), true)
			put(i.load(at(dy)), d, at(dx))
		})

		i.text("gate"+act, "y, h, u *float32, n int", "")
		y, g, u, n := ptr("y"), ptr("h"), ptr("u"), ptr("n")
		i.loop(n, func(at at) {
			v, _ := i.value(act, i.load(at(g)), false)
			VMULPS(at(u), v, v)
			VMOVUPS(v, at(y))
		})
		done()

		i.text("gateBack"+act, "dg, du, dy, h, u *float32, n, add int", "")
		dg, du, dy, g, u, n := ptr("dg"), ptr("du"), ptr("dy"), ptr("h"), ptr("u"), ptr("n")
		i.products(n, func(at at, put put) {
			v, d := i.value(act, i.load(at(g)), true)
			gy := i.load(at(dy))
			put(gy, v, at(du))
			VMULPS(at(u), gy, gy)
			put(gy, d, at(dg))
		})
	}
}
