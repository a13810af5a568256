package peft

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
)

// RoadConfig is HF's RoadConfig.
type RoadConfig struct {
	Common
	TargetFields
	Variant     string `json:"variant"`
	GroupSize   int    `json:"group_size"`
	InitWeights bool   `json:"init_weights"`
}

// road is RoAd (Liao and Monz 2024, "3-in-1: 2D Rotary Adaptation for Efficient Finetuning, Efficient Batching and Composability",
// arXiv:2409.00119): pairs of the layer's outputs are rotated by θ and scaled by α,
//
//	y_i = α·cos θ·x_i - α·sin θ·x_j,  y_j = α·sin θ·x_i + α·cos θ·x_j,
//
// where j lies half a group of group_size after i. road_1 has one α and θ a pair, road_2 one an output, road_4 two an output.
type road struct {
	mergeTuner
	cfg RoadConfig
}

func newRoad() Method {
	m := &road{cfg: RoadConfig{Common: newCommon("ROAD"), Variant: "road_1", GroupSize: 64, InitWeights: true}}
	m.method = "ROAD"
	return m
}

func (m *road) Config() any { return &m.cfg }

// Attach implements Method.
func (m *road) Attach(sites []nn.Site, env Env) error {
	c := &m.cfg
	halves, ok := map[string]int{"road_1": 1, "road_2": 2, "road_4": 4}[c.Variant]
	if !ok {
		return fmt.Errorf("peft: ROAD: variant = %q; it must be road_1, road_2 or road_4", c.Variant)
	}
	if c.GroupSize <= 0 || c.GroupSize%2 != 0 {
		return fmt.Errorf("peft: ROAD: group_size = %d; it must be even and at least 2", c.GroupSize)
	}
	return m.attach(c, sites, env, func(t *target) error {
		if t.out%c.GroupSize != 0 {
			return fmt.Errorf("peft: ROAD: %s has %d outputs, which group_size = %d does not divide", t.name, t.out, c.GroupSize)
		}
		theta, alpha := zeros, ones
		if !c.InitWeights {
			theta = normal(env.Seed, t.key("road_theta"), 0.5)
			shifted := normal(env.Seed, t.key("road_alpha"), 0.5)
			alpha = func(d []float32) {
				shifted(d)
				for i := range d {
					d[i]++
				}
			}
		}
		t.param("road_theta", theta, t.out*halves/2)
		t.param("road_alpha", alpha, t.out*halves/2)
		r := roadMap{d: t.out, half: c.GroupSize / 2, variant: halves}
		t.form = &outputTransform{transform: r.transform(), fold: r.fold, unfold: r.unfold}
		return nil
	})
}

// roadMap is the rotation of one layer's d outputs.
type roadMap struct{ d, half, variant int }

// at are the places of the parameters of output i: for the cosine and for the sine.
func (r roadMap) at(i int) (first, second int) {
	switch g := 2 * r.half; r.variant {
	case 1:
		j := i/g*r.half + i%r.half
		return j, j
	case 2:
		return i, i
	default:
		j := i/g*2*g + i%g
		return j, j + g
	}
}

// columns writes the factors of x_i and of its partner, [2, d].
func (r roadMap) columns(_ *pool.Pool, p [][]float32, prep, _ []float32) {
	for i := range r.d {
		a, b := r.at(i)
		prep[i] = float32(float64(p[1][a]) * math.Cos(float64(p[0][a])))
		prep[r.d+i] = float32(float64(p[1][b]) * math.Sin(float64(p[0][b])))
	}
}

// partner is the output that i is paired with, and the sign of its sine.
func (r roadMap) partner(i int) (int, float32) {
	if i%(2*r.half) < r.half {
		return i + r.half, -1
	}
	return i - r.half, 1
}

func (r roadMap) transform() transform {
	return transform{
		reads: true, prep: 2 * r.d, prepare: r.columns,
		forward: func(pl *pool.Pool, n int, x, y []float32, _ [][]float32, c, _ []float32) {
			eachRows(pl, n, func(lo, hi int) {
				for t := lo; t < hi; t++ {
					r.row(x[t*r.d:(t+1)*r.d], y[t*r.d:(t+1)*r.d], c)
				}
			})
		},
		backward: func(pl *pool.Pool, n int, x, dy, dx []float32, _, _ [][]float32, c, dc, _ []float32) {
			if dx != nil {
				eachRows(pl, n, func(lo, hi int) {
					for t := lo; t < hi; t++ {
						g, out := dy[t*r.d:(t+1)*r.d], dx[t*r.d:(t+1)*r.d]
						for i := range out {
							j, s := r.partner(i) // y_j has -s·x_i
							out[i] += float32(g[i]*c[i]) - float32(s*float32(g[j]*c[r.d+j]))
						}
					}
				})
			}
			columnSums(pl, dc[:r.d], n, func(t, i int) float32 { return dy[t*r.d+i] * x[t*r.d+i] })
			columnSums(pl, dc[r.d:2*r.d], n, func(t, i int) float32 {
				j, s := r.partner(i)
				return dy[t*r.d+i] * float32(s*x[t*r.d+j])
			})
		},
		finish: func(_ *pool.Pool, p, dp [][]float32, _, dc, _ []float32) {
			for i := range r.d {
				a, b := r.at(i)
				ca, sa := math.Cos(float64(p[0][a])), math.Sin(float64(p[0][a]))
				cb, sb := math.Cos(float64(p[0][b])), math.Sin(float64(p[0][b]))
				if dp[0] != nil {
					dp[0][a] -= float32(float64(p[1][a]*dc[i]) * sa)
					dp[0][b] += float32(float64(p[1][b]*dc[r.d+i]) * cb)
				}
				if dp[1] != nil {
					dp[1][a] += float32(float64(dc[i]) * ca)
					dp[1][b] += float32(float64(dc[r.d+i]) * sb)
				}
			}
		},
	}
}

// row rotates one row.
func (r roadMap) row(x, y, c []float32) {
	for i := range y {
		j, s := r.partner(i)
		y[i] = float32(x[i]*c[i]) + float32(s*float32(x[j]*c[r.d+i]))
	}
}

// fold rotates the columns of W and the bias.
func (r roadMap) fold(t *target, p [][]float32, w, bias []float32) error {
	c, x, y := make([]float32, 2*r.d), make([]float32, r.d), make([]float32, r.d)
	r.columns(nil, p, c, nil)
	for j := range t.in {
		for i := range r.d {
			x[i] = w[i*t.in+j]
		}
		r.row(x, y, c)
		for i := range r.d {
			w[i*t.in+j] = y[i]
		}
	}
	if bias != nil {
		copy(x, bias)
		r.row(x, bias, c)
	}
	return nil
}

// unfold undoes fold: y_i = c_i·x_i + s_i·c_{d+i}·x_j and y_j likewise are solved for each pair.
func (r roadMap) unfold(t *target, p [][]float32, w, bias []float32) {
	c := make([]float32, 2*r.d)
	r.columns(nil, p, c, nil)
	solve := func(x []float32, width int) { // x [d, width]
		for i := range r.d {
			j, s := r.partner(i)
			if j < i {
				continue
			}
			_, back := r.partner(j)
			a, b, d, e := float64(c[i]), float64(s*c[r.d+i]), float64(back*c[r.d+j]), float64(c[j])
			det := a*e - b*d
			for k := range width {
				yi, yj := float64(x[i*width+k]), float64(x[j*width+k])
				x[i*width+k], x[j*width+k] = float32((float64(e*yi)-float64(b*yj))/det), float32((float64(a*yj)-float64(d*yi))/det)
			}
		}
	}
	if w != nil {
		solve(w, t.in)
	}
	if bias != nil {
		solve(bias, 1)
	}
}
