package kernels

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// RopeTable holds the cosines and sines of rotary position embedding (Su et al., 2021). It grows as positions are asked for, so a
// model of many positions costs the memory of those in use. Several goroutines may use it at once.
type RopeTable struct {
	Half   int // pairs a head: rotary dimensions / 2
	MaxPos int // positions 0..MaxPos-1 exist

	inv   []float32
	scale float32
	mu    sync.Mutex // held to grow
	rows  atomic.Pointer[ropeRows]
}

// ropeRows are the cosines and sines of the first positions, [n, half] each.
type ropeRows struct {
	cos, sin []float32
	n        int
}

// NewRopeTable makes the table for positions 0..maxPos-1 from the inverse frequencies [half]. As transformers does, an angle is
// the float32 product of inverse frequency and position; cosine and sine are rounded to float32 and then multiplied by scale
// (attention scaling; 1 for none).
func NewRopeTable(invFreq []float64, maxPos int, scale float64) *RopeTable {
	t := &RopeTable{Half: len(invFreq), MaxPos: maxPos, scale: float32(scale)}
	for _, f := range invFreq {
		t.inv = append(t.inv, float32(f))
	}
	t.rows.Store(&ropeRows{})
	return t
}

// NewRopeRows makes a table whose row i has the angles of positions[i].
func NewRopeRows(invFreq []float64, positions []int32, scale float64) *RopeTable {
	t := NewRopeTable(invFreq, len(positions), scale)
	r := &ropeRows{n: len(positions), cos: make([]float32, len(positions)*t.Half), sin: make([]float32, len(positions)*t.Half)}
	for i, pos := range positions {
		t.fill(r, i, pos)
	}
	t.rows.Store(r)
	return t
}

// fill computes a row.
func (t *RopeTable) fill(r *ropeRows, row int, pos int32) {
	h := t.Half
	for i, f := range t.inv {
		s, c := math.Sincos(float64(f * float32(pos)))
		r.cos[row*h+i] = float32(c) * t.scale
		r.sin[row*h+i] = float32(s) * t.scale
	}
}

// upTo returns rows for the positions 0..n-1 at least. The table doubles, from 256 positions on.
func (t *RopeTable) upTo(n int) *ropeRows {
	if r := t.rows.Load(); n <= r.n {
		return r
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.rows.Load()
	if n <= old.n {
		return old
	}
	size := 256
	for size < n {
		size *= 2
	}
	r := &ropeRows{n: min(size, t.MaxPos)}
	h := t.Half
	r.cos, r.sin = make([]float32, r.n*h), make([]float32, r.n*h)
	copy(r.cos, old.cos)
	copy(r.sin, old.sin)
	for pos := old.n; pos < r.n; pos++ {
		t.fill(r, pos, int32(pos))
	}
	t.rows.Store(r)
	return r
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
	last := 0
	for _, at := range pos[:rows] {
		if at < 0 || int(at) >= t.MaxPos {
			panic(fmt.Sprintf("kernels: Rope: position %d, table of %d", at, t.MaxPos))
		}
		last = max(last, int(at))
	}
	table := t.upTo(last + 1)
	v := vec()
	blocks(p, rows, rowBlock(d), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			at := int(pos[r])
			c, s := table.cos[at*h:][:h], table.sin[at*h:][:h]
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
