package kernels

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// RopeTable holds the cosines and sines of rotary position embedding (Su et al., 2021).
type RopeTable struct {
	Cos, Sin []float32 // [positions, half]
	Half     int       // pairs a head: rotary dimensions / 2
	MaxPos   int
}

// NewRopeTable computes the table for positions 0..maxPos-1 from the inverse frequencies [half]. As transformers does, an angle is
// the float32 product of inverse frequency and position; cosine and sine are rounded to float32 and then multiplied by scale
// (attention scaling; 1 for none).
func NewRopeTable(invFreq []float64, maxPos int, scale float64) *RopeTable {
	h := len(invFreq)
	t := &RopeTable{Cos: make([]float32, maxPos*h), Sin: make([]float32, maxPos*h), Half: h, MaxPos: maxPos}
	for pos := 0; pos < maxPos; pos++ {
		for i, f := range invFreq {
			a := float64(float32(f) * float32(pos))
			s, c := math.Sincos(a)
			t.Cos[pos*h+i] = float32(c) * float32(scale)
			t.Sin[pos*h+i] = float32(s) * float32(scale)
		}
	}
	return t
}

// Rope rotates x [rows, heads·headDim] into y, which may be x: the first rotaryDim elements of each head, by the angles of
// the row's position pos [rows]; the others are copied. Element i pairs with i+rotaryDim/2 (rotate_half of transformers), or, when
// interleaved, 2i with 2i+1 (GPT-J). inverse applies the transposed rotation: the backward pass.
func Rope(p *pool.Pool, y, x []float32, rows, heads, headDim, rotaryDim int, pos []int32, t *RopeTable, inverse bool, interleaved bool) {
	d := heads * headDim
	needRows("Rope", rows, d, y, x)
	if rotaryDim != 2*t.Half || rotaryDim > headDim {
		panic(fmt.Sprintf("kernels: Rope: rotary dimension %d, head dimension %d, table of %d pairs", rotaryDim, headDim, t.Half))
	}
	sign := float32(1)
	if inverse {
		sign = -1
	}
	h := t.Half
	v := vec()
	blocks(p, rows, rowBlock(d), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			at := int(pos[r])
			if at < 0 || at >= t.MaxPos {
				panic(fmt.Sprintf("kernels: Rope: position %d, table of %d", at, t.MaxPos))
			}
			c, s := t.Cos[at*h:][:h], t.Sin[at*h:][:h]
			for i := 0; i < heads; i++ {
				xh, yh := x[r*d+i*headDim:][:headDim], y[r*d+i*headDim:][:headDim]
				if interleaved {
					for j := range h {
						a, b, sj := xh[2*j], xh[2*j+1], s[j]*sign
						yh[2*j] = float32(a*c[j]) - float32(b*sj)
						yh[2*j+1] = float32(b*c[j]) + float32(a*sj)
					}
				} else {
					v.rotate(yh[:h], yh[h:2*h], xh[:h], xh[h:2*h], c, s, sign)
				}
				copy(yh[2*h:], xh[2*h:])
			}
		}
	})
}
