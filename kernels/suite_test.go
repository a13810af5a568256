package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/guard"
	"github.com/adaptflow/adaptflow/internal/pool"
)

// bed gives a kernel its arguments: values that a name and a size fix, between forbidden pages.
type bed struct {
	t      testing.TB
	p      *pool.Pool
	side   guard.Side
	poison func(name string, x []float32) // changes an input
}

func (b *bed) in(name string, n int) []float32 {
	x := guard.Float32(b.t, n, b.side)
	seed := uint64(n)
	for _, c := range name {
		seed = seed*131 + uint64(c)
	}
	copy(x, randn(rand.New(rand.NewPCG(seed, 9)), n))
	if b.poison != nil {
		b.poison(name, x)
	}
	return x
}

func (b *bed) zero(n int) []float32 { return guard.Float32(b.t, n, b.side) }

// result is what a kernel wrote and what float64 arithmetic gives.
type result struct {
	what string
	got  []float32
	want []float64
	rows bool // row r depends on row r of the inputs alone
	// sizes are those of the terms that add up to a value, where they cancel, of each row or of all: errors count beside them. None means
	// 1.
	sizes []float64
}

// size is that of value i, at least 1.
func (r *result) size(i int) float64 {
	if len(r.sizes) == 0 {
		return 1
	}
	return max(1, r.sizes[i/(len(r.got)/len(r.sizes))])
}

// suite is the table of row-wise and elementwise kernels: each row runs one on rows×d values and computes the same in float64.
var suite = []struct {
	name string
	run  func(b *bed, rows, d int) []result
}{
	{"RMSNorm", func(b *bed, rows, d int) []result {
		var out []result
		for _, one := range []bool{false, true} {
			x, w, dy := b.in("x", rows*d), b.in("w", d), b.in("dy", rows*d)
			y, rstd, dx, dw := b.zero(rows*d), b.zero(rows), b.in("dx", rows*d), b.in("dw", d)
			wy, wdx, wdw := make([]float64, rows*d), wide64(dx), wide64(dw)
			RMSNorm(b.p, y, rstd, x, w, rows, d, 1e-5, one)
			RMSNormBackward(b.p, dx, dw, dy, x, w, rstd, rows, d, one)
			for r := range rows {
				ms := 0.0
				for i := range d {
					ms += float64(x[r*d+i]) * float64(x[r*d+i])
				}
				s := 1 / math.Sqrt(ms/float64(d)+1e-5)
				dot := 0.0
				for i := range d {
					k := r*d + i
					f := float64(w[i])
					if one {
						f++
					}
					wy[k] = float64(x[k]) * s * f
					dot += float64(dy[k]) * f * float64(x[k])
					wdw[i] += float64(dy[k]) * float64(x[k]) * s
				}
				for i := range d {
					k := r*d + i
					f := float64(w[i])
					if one {
						f++
					}
					wdx[k] += s*float64(dy[k])*f - s*s*s/float64(d)*dot*float64(x[k])
				}
			}
			out = append(out, result{"y", y, wy, true, nil}, result{"dx", dx, wdx, true, nil}, result{"dw", dw, wdw, false, nil})
		}
		return out
	}},
	{"LayerNorm", func(b *bed, rows, d int) []result {
		x, w, c, dy := b.in("x", rows*d), b.in("w", d), b.in("b", d), b.in("dy", rows*d)
		y, mean, rstd := b.zero(rows*d), b.zero(rows), b.zero(rows)
		dx, dw, db := b.in("dx", rows*d), b.in("dw", d), b.in("db", d)
		wy, wdx, wdw, wdb := make([]float64, rows*d), wide64(dx), wide64(dw), wide64(db)
		LayerNorm(b.p, y, mean, rstd, x, w, c, rows, d, 1e-5)
		LayerNormBackward(b.p, dx, dw, db, dy, x, w, mean, rstd, rows, d)
		for r := range rows {
			m, v := 0.0, 0.0
			for i := range d {
				m += float64(x[r*d+i]) / float64(d)
			}
			for i := range d {
				v += (float64(x[r*d+i]) - m) * (float64(x[r*d+i]) - m) / float64(d)
			}
			s := 1 / math.Sqrt(v+1e-5)
			var g, gx float64
			for i := range d {
				k := r*d + i
				h := (float64(x[k]) - m) * s
				wy[k] = h*float64(w[i]) + float64(c[i])
				g += float64(dy[k]) * float64(w[i]) / float64(d)
				gx += float64(dy[k]) * float64(w[i]) * h / float64(d)
				wdw[i] += float64(dy[k]) * h
				wdb[i] += float64(dy[k])
			}
			for i := range d {
				k := r*d + i
				wdx[k] += s * (float64(dy[k])*float64(w[i]) - g - (float64(x[k])-m)*s*gx)
			}
		}
		// Terms of dx are of the size of rstd, and cancel where the variance is nothing. A mean that is rounded to float32 moves the
		// normalised values of its row by half a unit in its last place over the deviation, and by that what is made of them: off is that
		// beside the suite's tolerance, of 256 such units.
		gains, slopes := largest(w), largest(dy)
		sy, sdx, all := make([]float64, rows), make([]float64, rows), 0.0
		for r, s := range rstd {
			off := 0.0
			if d > 1 { // the mean of one value is exact
				off = math.Abs(float64(mean[r]*s)) / 256
			}
			sy[r], sdx[r], all = off*gains, float64(s)*max(1, off*gains*slopes), max(all, off*slopes)
		}
		return []result{{"y", y, wy, true, sy}, {"dx", dx, wdx, true, sdx}, {"dw", dw, wdw, false, []float64{all}},
			{"db", db, wdb, false, nil}}
	}},
	{"GatedAct", func(b *bed, rows, d int) []result {
		var out []result
		for act := range numActs {
			n := rows * d
			g, u, dy := b.in("x", n), b.in("u", n), b.in("dy", n)
			y, dg, du := b.zero(n), b.in("dg", n), b.in("du", n)
			wy, wdg, wdu := make([]float64, n), wide64(dg), wide64(du)
			GatedAct(b.p, act, y, g, u)
			GatedActBackward(b.p, act, 1, dg, du, dy, g, u)
			fresh, fresh2 := b.zero(n), b.zero(n)
			for i := range n {
				fresh[i], fresh2[i] = float32(math.NaN()), float32(math.NaN())
			}
			GatedActBackward(b.p, act, 0, fresh, fresh2, dy, g, u)
			wset, wset2 := make([]float64, n), make([]float64, n)
			for i := range n {
				f, slope := act64(act, float64(g[i]))
				wset[i], wset2[i] = float64(dy[i])*float64(u[i])*slope, float64(dy[i])*f
			}
			out = append(out, result{act.String() + " dg, beta 0", fresh, wset, true, nil},
				result{act.String() + " du, beta 0", fresh2, wset2, true, nil})
			for i := range n {
				f, slope := act64(act, float64(g[i]))
				wy[i] = f * float64(u[i])
				wdg[i] += float64(dy[i]) * float64(u[i]) * slope
				wdu[i] += float64(dy[i]) * f
			}
			out = append(out, result{act.String(), y, wy, true, nil}, result{act.String() + " dg", dg, wdg, true, nil},
				result{act.String() + " du", du, wdu, true, nil})
		}
		return out
	}},
	{"Activate", func(b *bed, rows, d int) []result {
		var out []result
		for act := range numActs {
			n := rows * d
			x, dy := b.in("x", n), b.in("dy", n)
			y, dx := b.zero(n), b.in("dx", n)
			wy, wdx := make([]float64, n), wide64(dx)
			Activate(b.p, act, y, x)
			ActivateBackward(b.p, act, 1, dx, dy, x)
			fresh, wset := b.zero(n), make([]float64, n)
			for i := range n {
				fresh[i] = float32(math.NaN())
				_, slope := act64(act, float64(x[i]))
				wset[i] = float64(dy[i]) * slope
			}
			ActivateBackward(b.p, act, 0, fresh, dy, x)
			out = append(out, result{act.String() + " dx, beta 0", fresh, wset, true, nil})
			for i := range n {
				f, slope := act64(act, float64(x[i]))
				wy[i] = f
				wdx[i] += float64(dy[i]) * slope
			}
			out = append(out, result{act.String(), y, wy, true, nil}, result{act.String() + " dx", dx, wdx, true, nil})
		}
		return out
	}},
	{"Rope", func(b *bed, rows, d int) []result {
		const heads = 3
		var out []result
		for _, interleaved := range []bool{false, true} {
			hd := 2 * d
			rotary := hd
			if d > 3 {
				rotary = hd - 2 // partial: the last two of a head stay
			}
			inv := make([]float64, rotary/2)
			for i := range inv {
				inv[i] = math.Pow(100, -float64(i)/float64(len(inv)))
			}
			table := NewRopeTable(inv, 1000, 0.5)
			x := b.in("x", rows*heads*hd)
			y, back := b.zero(len(x)), b.zero(len(x))
			pos := make([]int32, rows)
			want, wback := make([]float64, len(x)), make([]float64, len(x))
			for r := range pos {
				pos[r] = int32(r * 7 % 400)
				for h := range heads {
					at := (r*heads + h) * hd
					for i := range hd {
						want[at+i], wback[at+i] = float64(x[at+i]), float64(x[at+i])
					}
					for i := range rotary / 2 {
						j, k := i, i+rotary/2
						if interleaved {
							j, k = 2*i, 2*i+1
						}
						a := float64(float32(inv[i]) * float32(pos[r]))
						c, s := math.Cos(a)/2, math.Sin(a)/2
						p, q := float64(x[at+j]), float64(x[at+k])
						want[at+j], want[at+k] = p*c-q*s, q*c+p*s
						wback[at+j], wback[at+k] = p*c+q*s, q*c-p*s
					}
				}
			}
			Rope(b.p, y, x, rows, heads, hd, rotary, pos, table, false, interleaved)
			Rope(b.p, back, x, rows, heads, hd, rotary, pos, table, true, interleaved)
			out = append(out, result{fmt.Sprint("y, interleaved ", interleaved), y, want, true, nil},
				result{fmt.Sprint("inverse, interleaved ", interleaved), back, wback, true, nil})
		}
		return out
	}},
	{"LogSoftmaxPick", func(b *bed, rows, d int) []result {
		ld := d + 1
		x := b.in("x", (rows-1)*ld+d)
		logp, lse, p := b.zero(rows), b.zero(rows), slices.Clone(x)
		soft := b.zero(len(x))
		copy(soft, p)
		target := make([]int32, rows)
		wlogp, wlse, wsoft := make([]float64, rows), make([]float64, rows), wide64(x)
		for r := range rows {
			target[r] = int32(r*5%(d+1)) - 1
			m, s := math.Inf(-1), 0.0
			for _, v := range x[r*ld:][:d] {
				m = math.Max(m, float64(v))
			}
			for _, v := range x[r*ld:][:d] {
				s += math.Exp(float64(v) - m)
			}
			wlse[r] = m + math.Log(s)
			if target[r] >= 0 {
				wlogp[r] = float64(x[r*ld+int(target[r])]) - wlse[r]
			}
			for i, v := range x[r*ld:][:d] {
				wsoft[r*ld+i] = math.Exp(float64(v) - wlse[r])
			}
		}
		LogSoftmaxPick(b.p, logp, lse, x, rows, d, ld, target)
		SoftmaxRows(b.p, soft, rows, d, ld, nil)
		return []result{{"logp", logp, wlogp, true, nil}, {"lse", lse, wlse, true, nil}, {"softmax", soft, wsoft, false, nil}}
	}},
	{"SoftCap", func(b *bed, rows, d int) []result {
		n := rows * d
		y, dx := b.in("x", n), b.in("dy", n)
		wy, wdx := make([]float64, n), make([]float64, n)
		for i := range n {
			wy[i] = 1.5 * math.Tanh(float64(y[i])/1.5)
			th := wy[i] / 1.5
			wdx[i] = float64(dx[i]) * (1 - th*th)
		}
		SoftCap(b.p, y, 1.5)
		SoftCapBackward(b.p, dx, y, 1.5)
		return []result{{"y", y, wy, true, nil}, {"dx", dx, wdx, true, nil}}
	}},
	{"AddBias and ColSum", func(b *bed, rows, d int) []result {
		y, bias, db := b.in("x", rows*d), b.in("b", d), b.in("db", d)
		wy, wdb := wide64(y), wide64(db)
		for k := range y {
			wdb[k%d] += wy[k]
			wy[k] += float64(bias[k%d])
		}
		ColSum(b.p, db, y, rows, d)
		AddBias(b.p, y, rows, d, bias)
		return []result{{"y", y, wy, true, nil}, {"db", db, wdb, false, nil}}
	}},
	{"Add, Axpy, Scale", func(b *bed, rows, d int) []result {
		n := rows * d
		x, y, z, s := b.in("x", n), b.in("u", n), b.zero(n), b.in("v", n)
		wz, wy, ws := make([]float64, n), make([]float64, n), make([]float64, n)
		for i := range n {
			wz[i] = float64(x[i]) + float64(y[i])
			wy[i] = float64(y[i]) + 0.3*float64(x[i])
			ws[i] = 0.3 * float64(s[i])
		}
		Add(b.p, z, x, y)
		Axpy(b.p, 0.3, x, y)
		Scale(b.p, 0.3, s)
		return []result{{"add", z, wz, true, nil}, {"axpy", y, wy, true, nil}, {"scale", s, ws, false, nil}}
	}},
	{"RoundBF16", func(b *bed, rows, d int) []result {
		x := b.in("x", rows*d)
		want := wide64(rounded(x))
		RoundBF16(b.p, x)
		return []result{{"x", x, want, true, nil}}
	}},
}

func wide64(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// act64 is an activation and its derivative by the definition.
func act64(a Act, x float64) (y, slope float64) {
	sig := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	switch a {
	case SiLU:
		s := sig(x)
		return x * s, s * (1 + x*(1-s))
	case GELU:
		c := 0.5 * (1 + math.Erf(x/math.Sqrt2))
		return x * c, c + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	case GELUTanh:
		k := math.Sqrt(2 / math.Pi)
		t := math.Tanh(k * (x + 0.044715*x*x*x))
		return 0.5 * x * (1 + t), 0.5*(1+t) + 0.5*x*(1-t*t)*k*(1+3*0.044715*x*x)
	case ReLU:
		if x > 0 {
			return x, 1
		}
		return 0, 0
	case ReLUSquared:
		if x > 0 {
			return x * x, 2 * x
		}
		return 0, 0
	case QuickGELU:
		s := sig(1.702 * x)
		return x * s, s + 1.702*x*s*(1-s)
	case Tanh:
		t := math.Tanh(x)
		return t, 1 - t*t
	case Sigmoid:
		return sig(x), sig(x) * (1 - sig(x))
	}
	panic(a.String())
}

var suiteSizes = [][2]int{{1, 1}, {1, 7}, {3, 16}, {2, 17}, {5, 33}, {4, 130}, {700, 3}, {130, 65}}

// TestSuite runs every kernel of every set between forbidden pages and compares it with float64; 1, 2 and 3 threads must give the same
// bits.
func TestSuite(t *testing.T) {
	for _, set := range sets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			for _, k := range suite {
				t.Run(k.name, func(t *testing.T) {
					for _, size := range suiteSizes {
						first := k.run(&bed{t: t, side: guard.After}, size[0], size[1])
						for _, r := range first {
							for i, v := range r.got {
								if !near(float64(v), r.want[i], 4e-6*math.Sqrt(float64(size[0])), r.size(i)) {
									t.Fatalf("%s of %v: value %d is %g, want %g", r.what, size, i, v, r.want[i])
								}
							}
						}
						for _, threads := range []int{2, 3} {
							p := pool.New(threads)
							for n, r := range k.run(&bed{t: t, p: p, side: guard.Before}, size[0], size[1]) {
								sameBits(t, fmt.Sprintf("%s of %v, %d threads", r.what, size, threads), first[n].got, r.got)
							}
							p.Close()
						}
					}
				})
			}
		})
	}
}

// TestSuiteNaN puts a NaN or an infinity into one row: the other rows keep their bits, and that row shows it.
func TestSuiteNaN(t *testing.T) {
	for _, set := range sets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			const rows, d, bad = 5, 37, 2
			for _, k := range suite {
				clean := k.run(&bed{t: t}, rows, d)
				for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
					for n, r := range k.run(&bed{t: t, poison: func(name string, x []float32) {
						if name == "x" {
							x[len(x)/rows*bad+len(x)/rows/2] = float32(v)
						}
					}}, rows, d) {
						if !r.rows {
							continue
						}
						w := len(r.got) / rows
						shows := false
						for i, got := range r.got {
							if i/w != bad {
								if math.Float32bits(got) != math.Float32bits(clean[n].got[i]) {
									t.Fatalf("%s %s: a %v in row %d changed row %d", k.name, r.what, v, bad, i/w)
								}
								continue
							}
							shows = shows || got != got || math.IsInf(float64(got), 0)
						}
						if v != v && !shows && r.what != "logp" {
							t.Errorf("%s %s: a NaN in row %d does not show", k.name, r.what, bad)
						}
					}
				}
			}
		})
	}
}

// largest is the largest magnitude of x, at least 1.
func largest(x []float32) float64 {
	m := 1.0
	for _, v := range x {
		m = max(m, math.Abs(float64(v)))
	}
	return m
}

// FuzzSuite compares the sets on sizes and values of the fuzzer's choice.
func FuzzSuite(f *testing.F) {
	f.Add(uint8(3), uint8(17), uint8(0), float32(1))
	f.Add(uint8(9), uint8(64), uint8(3), float32(-40))
	f.Fuzz(func(t *testing.T, rows, d, which uint8, scale float32) {
		if rows == 0 || d == 0 || rows > 40 || scale != scale || math.Abs(float64(scale)) > 60 {
			return
		}
		k := suite[int(which)%len(suite)]
		for _, set := range sets() {
			restore := SetActive(set.set)
			for _, r := range k.run(&bed{t: t, poison: func(name string, x []float32) {
				if name == "x" {
					for i := range x {
						x[i] *= scale
					}
				}
			}}, int(rows), int(d)) {
				top := 1.0
				for _, w := range r.want {
					top = max(top, math.Abs(w))
				}
				for i, v := range r.got {
					if !near(float64(v), r.want[i], 3e-5, max(top, r.size(i))) {
						t.Errorf("%s %s, %s, %d rows of %d at scale %g: value %d is %g, want %g", set.name, k.name, r.what, rows, d,
							scale, i, v, r.want[i])
						break
					}
				}
			}
			restore()
		}
	})
}

// TestProductsBetweenForbiddenPages runs the matrix products and attention on memory whose neighbours may not be touched.
func TestProductsBetweenForbiddenPages(t *testing.T) {
	for _, set := range sets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			for _, side := range []guard.Side{guard.After, guard.Before} {
				b := &bed{t: t, side: side}
				for _, s := range gemmSizes {
					m, n, k := s[0], s[1], s[2]
					x, w, y := b.in("x", m*k), b.in("w", n*k), b.zero(m*n)
					Gemm(nil, m, n, k, 1, x, k, 1, w, 1, k, 0, y, n)
					Gemm(nil, n, k, m, 1, y, 1, n, x, k, 1, 1, w, k)
					wide := PackPanels(guard.Float32(t, PanelsLen(k, n), side), k, n, w, 1, k)
					MatMul(nil, m, x, k, wide, 0, y, n)
					MatMulT(nil, m, y, n, wide, 1, x, k)
					narrow := PackHalf(half(guard.Float32(t, HalfLen(k, n)/2, side)), k, n, w, 1, k)
					MatMul(nil, m, x, k, narrow, 0, y, n)
					MatMulT(nil, m, y, n, narrow, 1, x, k)
				}
				for _, n := range []int{1, 5, 63, 64, 65, 130} {
					const H, KV, hd = 4, 2, 24
					a := Attn{Heads: H, KVHeads: KV, HeadDim: hd, Scale: 0.2}
					q, k, v, dout := b.in("q", n*H*hd), b.in("k", n*KV*hd), b.in("v", n*KV*hd), b.in("dy", n*H*hd)
					out, lse, dq, dk, dv := b.zero(n*H*hd), b.zero(n*H), b.zero(n*H*hd), b.zero(n*KV*hd), b.zero(n*KV*hd)
					docs := []Doc{{0, int32(n), 0, -1, 0}}
					a.Forward(nil, out, lse, q, k, v, docs, nil, nil, 0, nil)
					a.Backward(nil, dq, dk, dv, nil, nil, dout, q, k, v, out, lse, docs, nil, nil, 0, b.zero(a.BackwardScratch(n, 1)))
				}
			}
		})
	}
}
