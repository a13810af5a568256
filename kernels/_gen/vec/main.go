// Command vec writes the assembly of kernels/vec.go's small loops for AVX-512 and for AVX2 with FMA.
//
//	go run ./vec -out ../vec_amd64.s -stubs ../vec_stubs_amd64.go -pkg kernels
//
// Loops over slices take a length that is a multiple of the vector width; the Go side pads the rest.
package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!noasm")
	constants()
	for _, i := range []isa{{512}, {256}} {
		i.mm()
		i.reductions()
		i.exponentials()
		i.elementwise()
		i.norms()
		i.activations()
	}
	Generate()
}

// float32inf is the key of the exponent bias among the constants.
var float32inf = float32(math.Inf(1))

// isa is a vector width in bits.
type isa struct{ bits int }

func (i isa) lanes() int { return i.bits / 32 }
func (i isa) wide() bool { return i.bits == 512 }

func (i isa) reg() reg.VecVirtual {
	if i.wide() {
		return ZMM()
	}
	return YMM()
}

func (i isa) zero() reg.VecVirtual {
	r := i.reg()
	if i.wide() {
		i.set(0, r)
	} else {
		VXORPS(r, r, r)
	}
	return r
}

// constants of the file, sixteen copies of each.
var (
	constAt  = map[float32]int{}
	constMem operand.Mem
)

var constList = []float64{
	89, -104, 1.44269504088896341, 0.693359375, -2.12194440e-4,
	1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
	1, -1, 0.5, -0.5, 2, 0.70710678118654752, 0.39894228040143268, 0.044715, 3 * 0.044715, 2 * 0.79788456080286536,
	-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04, -2.95459980854025e-03,
	-1.60960333262415e-02,
	-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02,
	-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05, 6.37261928875436e-04,
	4.89352455891786e-03,
	1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03,
	4, -4, 7.90531110763549805, -7.90531110763549805, 0,
}

var (
	erfA  = constList[21:28]
	erfB  = constList[28:33]
	tanhA = constList[33:40]
	tanhB = constList[40:44]
)

func constants() {
	constMem = GLOBL("vecConst", 8|16) // RODATA|NOPTR
	at := 0
	for _, c := range constList {
		f := float32(c)
		if _, ok := constAt[f]; ok {
			continue
		}
		constAt[f] = at
		for range 16 {
			DATA(at, operand.U32(math.Float32bits(f)))
			at += 4
		}
	}
	// The exponent bias as an integer.
	constAt[float32inf] = at
	for range 16 {
		DATA(at, operand.U32(127))
		at += 4
	}
}

// c is the constant x as a memory operand.
func c(x float64) operand.Mem {
	at, ok := constAt[float32(x)]
	if !ok {
		panic(fmt.Sprint("no constant ", x))
	}
	return constMem.Offset(at)
}

// k loads the constant x.
func (i isa) k(x float64) reg.VecVirtual {
	r := i.reg()
	i.set(x, r)
	return r
}

// Operations with the constant x. The linker puts the constants at multiples of 32: loads of 64 bytes would cross a line of the cache where
// that is not a multiple of 64, and take half as long again, so that 512 bits are broadcast from 32.

func (i isa) set(x float64, r reg.VecVirtual) {
	if i.wide() {
		VBROADCASTSS(c(x), r)
	} else {
		VMOVUPS(c(x), r)
	}
}

func (i isa) fma213(x float64, a, r reg.VecVirtual) { i.with(VFMADD213PS, VFMADD213PS_BCST, x, a, r) }
func (i isa) fnma231(x float64, a, r reg.VecVirtual) {
	i.with(VFNMADD231PS, VFNMADD231PS_BCST, x, a, r)
}
func (i isa) add(x float64, a, r reg.VecVirtual) { i.with(VADDPS, VADDPS_BCST, x, a, r) }
func (i isa) mul(x float64, a, r reg.VecVirtual) { i.with(VMULPS, VMULPS_BCST, x, a, r) }

func (i isa) with(op, bcst func(...operand.Op), x float64, a, r reg.VecVirtual) {
	if i.wide() {
		bcst(c(x), a, r)
	} else {
		op(c(x), a, r)
	}
}

// text begins a function; params are pairs of names and types in Go's syntax.
func (i isa) text(name, params, result string) {
	Function(fmt.Sprintf("%s%d", name, i.bits))
	Pragma("noescape")
	Attributes(4) // NOSPLIT
	SignatureExpr("func(" + params + ") " + result)
}

func ptr(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }

func (i isa) scalar(name string) reg.VecVirtual {
	r := i.reg()
	x := XMM()
	Load(Param(name), x)
	VBROADCASTSS(x, r)
	return r
}

func done() {
	VZEROUPPER()
	RET()
}

// loop runs body for each vector of n elements; at(p) is where the present vector of pointer p is.
func (i isa) loop(n reg.GPVirtual, body func(at func(p reg.GPVirtual) operand.Mem)) {
	i.loopNamed("", n, body)
}

// loopNamed is loop for functions that have several.
func (i isa) loopNamed(name string, n reg.GPVirtual, body func(at func(p reg.GPVirtual) operand.Mem)) {
	idx := GP64()
	XORQ(idx, idx)
	JMP(operand.LabelRef("check" + name))
	Label("loop" + name)
	body(func(p reg.GPVirtual) operand.Mem { return operand.Mem{Base: p, Index: idx, Scale: 4} })
	ADDQ(operand.Imm(uint64(i.lanes())), idx)
	Label("check" + name)
	CMPQ(idx, n)
	JLT(operand.LabelRef("loop" + name))
}

// products writes a function's loop twice: where the parameter add is not 0, the products a·b that body gives are added to what is at dst;
// else they take its place. b is overwritten.
func (i isa) products(n reg.GPVirtual, body func(at func(p reg.GPVirtual) operand.Mem, put func(a, b reg.VecVirtual, dst operand.Mem))) {
	add := ptr("add")
	TESTQ(add, add)
	JZ(operand.LabelRef("set"))
	i.loop(n, func(at func(p reg.GPVirtual) operand.Mem) {
		body(at, func(a, b reg.VecVirtual, dst operand.Mem) {
			VFMADD213PS(dst, a, b)
			VMOVUPS(b, dst)
		})
	})
	done()
	Label("set")
	i.loopNamed("Set", n, func(at func(p reg.GPVirtual) operand.Mem) {
		body(at, func(a, b reg.VecVirtual, dst operand.Mem) {
			VMULPS(a, b, b)
			VMOVUPS(b, dst)
		})
	})
	done()
}

func (i isa) load(m operand.Mem) reg.VecVirtual {
	r := i.reg()
	VMOVUPS(m, r)
	return r
}
