package train

import (
	"math"
	"unsafe"

	"github.com/adaptflow/adaptflow/quant"
)

// The 8-bit optimisers keep their state as codes of 8 bits with one scale a block of 256 values (Dettmers et al. 2022, arXiv:2110.02861),
// as bitsandbytes' do. A parameter of fewer than min_8bit_size values keeps float32.

const block8 = 256

var signedMap, unsignedMap = quant.DynamicMap(true), quant.DynamicMap(false)

// blockStates lists the codes and scales of 8-bit states.
func blockStates(names ...string) func(o options, name string, rows, cols int) []state {
	return func(o options, name string, rows, cols int) []state {
		n := rows * cols
		var s []state
		for _, name := range names {
			if float64(n) < o["min_8bit_size"] {
				s = append(s, state{name, n})
			} else {
				s = append(s, state{name, (n + 3) / 4}, state{"absmax" + name[len("state"):], (n + block8 - 1) / block8})
			}
		}
		return s
	}
}

// block is one block of an 8-bit state, expanded.
type block struct {
	values [block8]float32
	codes  []uint8
	absmax *float32
	m      *quant.Map8
}

func (b *block) read(n int) []float32 {
	for i := range n {
		b.values[i] = b.m[b.codes[i]] * *b.absmax
	}
	return b.values[:n]
}

func (b *block) write(n int) {
	var top [1]float32
	b.m.Quantize8(b.codes, top[:], b.values[:n], block8)
	*b.absmax = top[0]
}

// eachBlock calls f for each block of the parameter with its expanded states, and keeps what f makes of them; maps has one map a state.
// A parameter that keeps float32 is one block.
func (u *update) eachBlock(maps []*quant.Map8, f func(p, g []float32, s [][]float32)) {
	if float64(len(u.p)) < u.o["min_8bit_size"] {
		f(u.p, u.g, u.state)
		return
	}
	blocks, s := make([]block, len(maps)), make([][]float32, len(maps))
	for lo := 0; lo < len(u.p); lo += block8 {
		hi := min(lo+block8, len(u.p))
		for k, m := range maps {
			codes := unsafe.Slice((*uint8)(unsafe.Pointer(&u.state[2*k][0])), 4*len(u.state[2*k]))
			blocks[k].m, blocks[k].codes, blocks[k].absmax = m, codes[lo:hi], &u.state[2*k+1][lo/block8]
			s[k] = blocks[k].read(hi - lo)
		}
		f(u.p[lo:hi], u.g[lo:hi], s)
		for k := range blocks {
			blocks[k].write(hi - lo)
		}
	}
}

// adamW8 is bitsandbytes' AdamW8bit.
func adamW8(u *update) {
	b1, w1, b2, w2 := float32(u.AdamBeta1), float32(1-u.AdamBeta1), float32(u.AdamBeta2), float32(1-u.AdamBeta2)
	c1, c2 := 1-math.Pow(u.AdamBeta1, float64(u.step)), math.Sqrt(1-math.Pow(u.AdamBeta2, float64(u.step)))
	size, eps, keep := float32(-u.lr*c2/c1), float32(u.AdamEpsilon*c2), float32(1-u.lr*u.decay)
	u.eachBlock([]*quant.Map8{signedMap, unsignedMap}, func(p, g []float32, s [][]float32) {
		m, v := s[0], s[1]
		for i, gi := range g {
			m[i] = float32(m[i]*b1) + float32(w1*gi)
			v[i] = float32(v[i]*b2) + float32(float32(w2*gi)*gi)
			p[i] = (p[i] + float32(size*float32(m[i]/(float32(math.Sqrt(float64(v[i])))+eps)))) * keep
		}
	})
}

// lion8 is bitsandbytes' Lion8bit.
func lion8(u *update) {
	u.eachBlock([]*quant.Map8{signedMap}, func(p, g []float32, s [][]float32) {
		part := *u
		part.p, part.g, part.state = p, g, s
		lion(&part)
	})
}

// sgd8 is bitsandbytes' SGD8bit: momentum without dampening.
func sgd8(u *update) {
	l, d, mom := float32(u.lr), float32(u.decay), float32(u.o["momentum"])
	u.eachBlock([]*quant.Map8{signedMap}, func(p, g []float32, s [][]float32) {
		for i, gi := range g {
			gi += float32(d * p[i])
			b := &s[0][i]
			if u.step == 1 {
				*b = gi
			} else {
				*b = float32(*b*mom) + gi
			}
			p[i] -= float32(l * *b)
		}
	})
}
