package infer

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/peft"
)

// strong is a LoRA adapter that changes what the model says, by values drawn with a seed.
func strong(t *testing.T, dir string, seed int) string {
	t.Helper()
	a := fresh(t, dir, "LORA", map[string]any{"r": 2, "target_modules": []string{"q_proj", "down_proj"}})
	f := golden.Open(t, peft.TensorPath(a))
	var ts []safetensors.Tensor
	for _, n := range f.Names() {
		v := f.F32(n)
		for i := range v {
			v[i] = 0.1 * float32(math.Sin(float64((i+1)*seed)))
		}
		ts = append(ts, safetensors.F32(n, v, f.Shape(n)...))
	}
	to := filepath.Join(t.TempDir(), "strong")
	if err := os.CopyFS(to, os.DirFS(a)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(peft.TensorPath(to)); err != nil {
		t.Fatal(err)
	}
	if err := safetensors.Write(peft.TensorPath(to), ts, nil); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestAs: a model with adapters by name answers as the one with that adapter alone: it says the same, scores the same and has
// the same vectors.
func TestAs(t *testing.T) {
	const text = "The city was built on a hill."
	base := embedded(t)
	a, b := strong(t, base.Dir, 3), strong(t, base.Dir, 5)
	several, err := LoadNamed(base.Dir, "", Named{"a", a}, Named{"b", b})
	if err != nil {
		t.Fatal(err)
	}
	defer several.Close()
	said := map[string]bool{}
	for name, folder := range map[string]string{peft.BaseName: "", "a": a, "b": b} {
		alone, err := Load(base.Dir, "", folder)
		if err != nil {
			t.Fatal(err)
		}
		defer alone.Close()
		as, err := several.As(name)
		if err != nil {
			t.Fatal(err)
		}
		as.Framed = alone.Framed
		s := evaluate.Sampling{MaxNewTokens: 8, TopP: 1, RepetitionPenalty: 1}
		want, err := alone.Generate(text, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := as.Generate(text, s, nil)
		if err != nil || got.Text != want.Text {
			t.Errorf("%s says %q, alone %q; %v", name, got.Text, want.Text, err)
		}
		said[want.Text] = true
		x, err := alone.Score(text)
		if err != nil {
			t.Fatal(err)
		}
		y, err := as.Score(text)
		if err != nil || math.Abs(x[0].Sum()-y[0].Sum()) > 1e-4 {
			t.Errorf("%s scores %g, alone %g; %v", name, y[0].Sum(), x[0].Sum(), err)
		}
		u, err := alone.Embed(PoolMean, text)
		if err != nil {
			t.Fatal(err)
		}
		v, err := as.Embed(PoolMean, text)
		if err != nil || golden.MaxDiff(v[0], u[0]) > 1e-4 {
			t.Errorf("%s: the vectors differ by %g; %v", name, golden.MaxDiff(v[0], u[0]), err)
		}
	}
	if len(said) != 3 {
		t.Errorf("the adapters change nothing: %v", said)
	}
	x, err := base.Score(text)
	if err != nil {
		t.Fatal(err)
	}
	if y, err := several.Score(text); err != nil || y[0].Sum() != x[0].Sum() {
		t.Errorf("without a name it scores %v, the base %v; %v", y, x, err)
	}
	both, err := several.As("a", "b")
	if err != nil {
		t.Fatal(err)
	}
	if y, err := both.Score(text); err != nil || y[0].Sum() == x[0].Sum() {
		t.Errorf("both added up score as the base; %v", err)
	}
	if _, err := several.As("c"); err == nil || !strings.Contains(err.Error(), `no adapter is called "c"`) {
		t.Errorf("%v", err)
	}
	if _, err := base.As("a"); err == nil {
		t.Error("a model without adapters by name has one")
	}
}
