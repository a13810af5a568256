package train

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/adaptflow/adaptflow/internal/philox"
)

// TestMuonIterations compares the iterations with their formula in float64, and its singular values with the band that the method promises.
func TestMuonIterations(t *testing.T) {
	for _, d := range [][2]int{{1, 1}, {2, 7}, {7, 2}, {24, 24}, {40, 96}, {96, 40}} {
		rows, cols := d[0], d[1]
		x := make([]float32, rows*cols)
		want := mat.NewDense(rows, cols, nil)
		philox.NewKey(3, "muon", "").FillNormal(x, 0, 1)
		for i, v := range x {
			want.Set(i/cols, i%cols, float64(v))
		}
		want.Scale(1/mat.Norm(want, 2), want) // Frobenius
		for range 5 {
			var gram, square, poly mat.Dense
			if rows <= cols {
				gram.Mul(want, want.T())
			} else {
				gram.Mul(want.T(), want)
			}
			square.Mul(&gram, &gram)
			poly.Scale(-4.7750, &gram)
			square.Scale(2.0315, &square)
			poly.Add(&poly, &square)
			next := mat.NewDense(rows, cols, nil)
			if rows <= cols {
				next.Mul(&poly, want)
			} else {
				next.Mul(want, &poly)
			}
			want.Scale(3.4445, want)
			want.Add(want, next)
		}
		orthogonalize(x, rows, cols, 5)
		for i, v := range x {
			if w := want.At(i/cols, i%cols); math.Abs(float64(v)-w) > 1e-4 {
				t.Fatalf("[%d, %d]: value %d is %g, want %g", rows, cols, i, v, w)
			}
		}
		var svd mat.SVD
		svd.Factorize(want, mat.SVDNone)
		if s := svd.Values(nil); rows != cols && (s[0] > 1.3 || s[len(s)-1] < 0.5) {
			t.Errorf("[%d, %d]: singular values %g to %g", rows, cols, s[len(s)-1], s[0])
		}
	}
}

// TestMuonGroups says which parameters Muon's rule moves, and what is kept for each.
func TestMuonGroups(t *testing.T) {
	o, err := optimizerByName("muon").options.with("optim_args", "muon", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		rows, cols int
		states     int
	}{
		{"base_model.model.model.layers.0.self_attn.q_proj.weight", 8, 8, 1}, {"base_model.model.model.embed_tokens.weight", 8, 8, 2},
		{"base_model.model.transformer.wte.weight", 8, 8, 2}, {"base_model.model.lm_head.weight", 8, 8, 2},
		{"base_model.model.model.norm.weight", 1, 8, 2}, {"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight", 8, 16, 1},
	} {
		if got := muonStates(o, c.name, c.rows, c.cols); len(got) != c.states {
			t.Errorf("%s keeps %d arrays, want %d", c.name, len(got), c.states)
		}
	}
	// The first step of a matrix with orthogonal rows is that matrix, times the rate: momentum only scales.
	g := []float32{0, 2, 0, 0, 2, 0, 0, 0}
	p := make([]float32, 8)
	args := DefaultArgs()
	muon(&update{Args: &args, o: o, step: 1, lr: 0.1, name: "q_proj.weight", rows: 2, cols: 4, p: p, g: g,
		state: [][]float32{make([]float32, 8)}})
	if !(p[1] < -0.02 && p[1] > -0.06 && p[4] == p[1]) || p[0] != 0 {
		t.Errorf("the first step is %v", p)
	}
}

// TestMuonAdamWRate moves an embedding by adamw_lr_ratio times the rate, and a hidden matrix by the rate.
func TestMuonAdamWRate(t *testing.T) {
	args := DefaultArgs()
	step := func(name, text string) float32 {
		o, err := optimizerByName("muon").options.with("optim_args", "muon", text)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]float32, 4)
		u := &update{Args: &args, o: o, step: 1, lr: 0.1, name: name, rows: 2, cols: 2, p: p, g: []float32{3, 0, 0, 3}}
		for _, k := range muonStates(o, name, 2, 2) {
			u.state = append(u.state, make([]float32, k.size))
		}
		muon(u)
		return p[0]
	}
	for _, c := range []struct {
		name  string
		ratio float32
	}{{"model.embed_tokens.weight", 0.25}, {"layers.0.q_proj.weight", 1}} {
		one, less := step(c.name, ""), step(c.name, "adamw_lr_ratio=0.25")
		if one >= 0 || math.Abs(float64(less/one-c.ratio)) > 1e-5 {
			t.Errorf("%s moves by %g, and by %g with a ratio of 0.25: want %g of it", c.name, one, less, c.ratio)
		}
	}
}
