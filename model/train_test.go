package model_test

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

// shifts adds a trainable bias to every linear module: gradients then flow through every op of a family.
type shifts struct{}

func (shifts) Adapt(b *nn.Builder, s nn.Site) nn.Ref {
	l, ok := s.Op.(*nn.Linear)
	if !ok {
		return s.Out
	}
	return b.Apply(&nn.AddBias{D: l.Out}, s.Out, b.Param(s.Name+".shift", 1, l.Out, func(d []float32) {
		for i := range d {
			d[i] = 0.01 * float32(i%7)
		}
	}))
}

// trained runs one step forward and backward and returns the loss and the gradients.
func trained(t *testing.T, m *model.Model, s *nn.Step, o nn.Options) (loss float64, grads map[string][]float32) {
	t.Helper()
	params := nn.NewParams(1)
	defer params.Free()
	o.Caps, o.Poison = nn.Caps{T: len(s.Tokens), S: len(s.Rows), N: len(s.Docs)}, true
	p, err := nn.Compile(m, []nn.Adapter{shifts{}}, params, o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	coef := make([]float32, len(s.Rows))
	for i, v := range p.Forward(s, true) {
		coef[i] = -1 / float32(len(coef))
		loss += float64(coef[i]) * float64(v)
	}
	p.Backward(coef)
	grads = map[string][]float32{}
	for _, q := range params.List() {
		grads[q.Name] = slices.Clone(q.Grad)
	}
	return loss, grads
}

// TestFamiliesTrain compares the gradients of every variant with torch's, and checks that checkpointing and threads change no bit of them,
// and that bfloat16 is near.
func TestFamiliesTrain(t *testing.T) {
	two := pool.New(2)
	defer two.Close()
	for _, kind := range []string{"models", "variants"} {
		for _, name := range golden.Dirs(t, filepath.Join("testdata", kind)) {
			t.Run(name, func(t *testing.T) {
				dir := filepath.Join("testdata", kind, name)
				m, err := model.Load(dir)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				b := golden.Open(t, filepath.Join(dir, "inputs.safetensors")).Batch("")
				s, _ := nn.FromBatch(b.IDs, b.Mask, b.Labels, b.B, b.T)
				loss, want := trained(t, m, s, nn.Options{Checkpoint: nn.CheckpointNone})
				if hf := golden.Open(t, filepath.Join(dir, "expected.safetensors")); hf.Has("shifted_loss") {
					if d := math.Abs(loss - float64(hf.F32("shifted_loss")[0])); d > 2e-5 {
						t.Errorf("the loss differs by %.2e", d)
					}
					for n, g := range want {
						ref := hf.F32("grad." + n)
						zero := make([]float32, len(g))
						if golden.MaxDiff(ref, zero) < 1e-6 && golden.MaxDiff(g, zero) < 1e-6 {
							continue // a bias of keys without rotary positions moves no softmax: both are rounding
						}
						if d := golden.RelDiff(g, ref); d > 1e-3 {
							t.Errorf("the gradient of %s differs by %.2e", n, d)
						}
					}
				} else if kind == "variants" {
					t.Error("there are no gradients to compare with")
				}
				for what, o := range map[string]nn.Options{"checkpointing": {Checkpoint: nn.CheckpointAll}, "two threads": {Pool: two}} {
					_, grads := trained(t, m, s, o)
					for n, g := range grads {
						if !slices.Equal(g, want[n]) {
							t.Errorf("%s changes the gradient of %s", what, n)
						}
					}
				}
				half, err := model.LoadAs(dir, "bfloat16")
				if err != nil {
					t.Fatal(err)
				}
				defer half.Close()
				var d, size float64
				_, grads := trained(t, half, s, nn.Options{DType: nn.BFloat16})
				for n, g := range grads {
					for i, v := range g {
						d += math.Pow(float64(v-want[n][i]), 2)
						size += math.Pow(float64(want[n][i]), 2)
					}
				}
				if r := math.Sqrt(d / size); !(r < 0.05) || r == 0 {
					t.Errorf("the gradients in bfloat16 are %.3f of their size away", r)
				}
			})
		}
	}
}
