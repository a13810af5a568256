package peft_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// changed saves a new adapter of a method with values that a seed gives, and opens it.
func (x multi) changed(t *testing.T, method string, config map[string]any, seed int) *peft.Adapter {
	t.Helper()
	a, err := peft.New(method, config, x.sites, x.env)
	if err != nil {
		t.Fatal(err)
	}
	params, err := a.NewParams(1)
	if err != nil {
		t.Fatal(err)
	}
	defer params.Free()
	dir := filepath.Join(t.TempDir(), "a")
	if err := a.Save(dir, params, 0, peft.Card{}); err != nil {
		t.Fatal(err)
	}
	f := golden.Open(t, peft.TensorPath(dir))
	var ts []safetensors.Tensor
	for _, n := range f.Names() {
		v := slices.Clone(f.F32(n))
		for i := range v {
			v[i] += 0.1 * float32(math.Sin(float64((i+1)*seed)))
		}
		ts = append(ts, safetensors.F32(n, v, f.Shape(n)...))
	}
	if err := os.Remove(peft.TensorPath(dir)); err != nil {
		t.Fatal(err)
	}
	if err := safetensors.Write(peft.TensorPath(dir), ts, nil); err != nil {
		t.Fatal(err)
	}
	if a, err = peft.Open(dir, x.sites, x.env); err != nil {
		t.Fatal(err)
	}
	return a
}

// TestBank: adapters of several forms and methods in the slots of one bank, which come and go while the program lives, give the bits of
// each alone, whatever slot they are in.
func TestBank(t *testing.T) {
	x := openMulti(t)
	lora := map[string]any{"r": 4, "target_modules": []string{"q_proj", "down_proj"}}
	open := []func() *peft.Adapter{
		func() *peft.Adapter { return x.open(t, "a") }, func() *peft.Adapter { return x.open(t, "b") },
		func() *peft.Adapter { return x.open(t, "c") },
		func() *peft.Adapter { return x.changed(t, "LORA", lora, 3) }, func() *peft.Adapter { return x.changed(t, "LORA", lora, 5) },
		func() *peft.Adapter { return x.changed(t, "LORA", lora, 7) },
		func() *peft.Adapter {
			return x.changed(t, "IA3", map[string]any{"target_modules": []string{"k_proj"}, "feedforward_modules": []string{}}, 3)
		},
		func() *peft.Adapter {
			return x.changed(t, "LOHA", map[string]any{"r": 2, "target_modules": []string{"q_proj"}}, 3)
		},
		func() *peft.Adapter {
			return x.changed(t, "LOHA", map[string]any{"r": 2, "target_modules": []string{"q_proj"}}, 4)
		},
	}
	s, _ := x.step(1)
	n := len(s.Tokens)
	var want [][]float32
	for i, o := range open {
		params := nn.NewParams(1)
		want = append(want, slices.Clone(x.program(t, []nn.Adapter{o()}, params, s).Forward(s, false)))
		if i > 0 && slices.Equal(want[i], want[i-1]) {
			t.Errorf("adapters %d and %d answer alike", i-1, i)
		}
	}
	base := slices.Clone(x.program(t, nil, nn.NewParams(1), s).Forward(s, false))
	b := peft.NewBank(3)
	defer b.Free()
	for _, o := range open {
		if a := o(); !b.Knows(a) {
			if err := b.Learn(a); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := len(b.Adapters()); got != 6 {
		t.Errorf("%d forms", got)
	}
	three := *s
	three.Docs, three.Rows = nil, nil
	three.Tokens, three.Positions = slices.Repeat(s.Tokens, 3), slices.Repeat(s.Positions, 3)
	for i := range 3 {
		for _, d := range s.Docs {
			d.Start, d.End = d.Start+int32(i*n), d.End+int32(i*n)
			three.Docs = append(three.Docs, d)
		}
		for _, r := range s.Rows {
			three.Rows = append(three.Rows, r+int32(i*n))
		}
	}
	p := x.program(t, b.Adapters(), b.Params(), &three)
	for turn := range len(open) + 2 { // adapters turn, turn+1 in slots that move, and the base
		i, k := turn%len(open), (turn+1)%len(open)
		slots := []int{turn % 3, (turn + 1) % 3}
		for j, a := range []int{i, k} {
			if err := b.Put(slots[j], open[a]()); err != nil {
				t.Fatal(err)
			}
		}
		b.Leave((turn + 2) % 3)
		three.Segments = nn.AddSegment(nn.AddSegment(nn.AddSegment(nil, 0, n, slots[0]), n, 2*n, slots[1]),
			2*n, 3*n, []int{-1, (turn + 2) % 3}[turn%2])
		got := p.Forward(&three, false)
		for j, w := range [][]float32{want[i], want[k], base} {
			if !slices.Equal(got[j*len(w):(j+1)*len(w)], w) {
				t.Errorf("turn %d: part %d has other bits than alone", turn, j)
			}
		}
	}
	if err := b.Put(0, x.changed(t, "LORA", map[string]any{"r": 3, "target_modules": []string{"q_proj"}}, 1)); err == nil {
		t.Error("a form that is not known is put into a slot")
	}
	if err := b.Learn(x.changed(t, "PROMPT_TUNING", map[string]any{"num_virtual_tokens": 2}, 1)); err == nil {
		t.Error("an adapter with virtual tokens is in a bank")
	}
}
