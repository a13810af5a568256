package peft_test

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/gradcheck"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/quant"
)

// methodCase is one file of testdata/methods: a configuration that the tests of this file, and the check with HF PEFT, run for.
type methodCase struct {
	Base   string         `json:"base"`   // a model of model/testdata
	Config map[string]any `json:"config"` // with peft_type
	Own    bool           `json:"own"`    // HF PEFT does not have the method
	// Refuses says what the method refuses, "merge", "unmerge" or several "segments" in a step, with a part of the error's text.
	Refuses map[string]string `json:"refuses"`
}

// methodCases reads testdata/methods. Every method of the table has at least one file.
func methodCases(t *testing.T) map[string]methodCase {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "methods", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	out, have := map[string]methodCase{}, map[string]bool{}
	for _, f := range files {
		c := golden.JSON[methodCase](t, f)
		out[strings.TrimSuffix(filepath.Base(f), ".json")] = c
		have[c.Config["peft_type"].(string)] = true
	}
	for _, r := range peft.Methods {
		if !have[r.Type] {
			t.Errorf("%s has no file in testdata/methods", r.Type)
		}
	}
	return out
}

// refused compares the error of something with what the case says of it; true where it is refused, as it should be.
func (c methodCase) refused(t *testing.T, what string, err error) bool {
	t.Helper()
	want, ok := c.Refuses[what]
	switch {
	case !ok && err != nil:
		t.Fatal(err)
	case ok && (err == nil || !strings.Contains(err.Error(), want)):
		t.Fatalf("%s: error %v, want one with %q", what, err, want)
	}
	return ok
}

// build attaches the case's method, with changed fields.
func (c methodCase) build(t *testing.T, changed map[string]any) (nn.Wiring, []nn.Site, *peft.Adapter) {
	t.Helper()
	m := base(t, c.Base)
	config := map[string]any{}
	for k, v := range c.Config {
		config[k] = v
	}
	for k, v := range changed {
		config[k] = v
	}
	sites := nn.Sites(m)
	a, err := peft.New(config["peft_type"].(string), config, sites, peft.Env{ModelType: m.Config.ModelType, BaseModel: "base", Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	return m, sites, a
}

// compileFor compiles a program for the step.
func compileFor(t *testing.T, m nn.Wiring, a *peft.Adapter, params *nn.Params, mode nn.Mode, s *nn.Step) *nn.Program {
	t.Helper()
	var as []nn.Adapter
	if a != nil {
		as = []nn.Adapter{a}
	}
	p, err := nn.Compile(m, as, params, nn.Options{Mode: mode, Caps: nn.Caps{T: len(s.Tokens), S: len(s.Rows), N: len(s.Docs)},
		Seed: 5, Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// dropouts are the configuration's rates, at 0.3: of the input, of the rank, of the module.
func dropouts(t *testing.T, a *peft.Adapter) map[string]any {
	t.Helper()
	out := map[string]any{}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(a.ConfigJSON(), &fields); err != nil {
		t.Fatal(err)
	}
	for k, v := range fields {
		if s := string(fields["target_parameters"]); s != "" && s != "null" {
			continue // goes without
		}
		if slices.Contains(a.Targets(), "lm_head") {
			continue // the head's pair, too
		}
		if strings.HasSuffix(k, "dropout") && string(v) != "null" {
			out[k] = 0.3
		}
	}
	return out
}

// TestMethodGradients compares every gradient of every method with differences of the loss, without and with dropout.
func TestMethodGradients(t *testing.T) {
	for name, c := range methodCases(t) {
		_, _, a := c.build(t, nil)
		variants := map[string]map[string]any{"": nil}
		if d := dropouts(t, a); len(d) > 0 {
			variants[" with dropout"] = d
		}
		for v, changed := range variants {
			t.Run(name+v, func(t *testing.T) {
				m, _, a := c.build(t, changed)
				params := nn.NewParams(1)
				defer params.Free()
				s := packed(5, 1, 7)
				p := compileFor(t, m, a, params, nn.ModeTrain, s)
				shake(params)
				peft.HoldNorms(a, params)
				coef := make([]float32, p.Supervised(s))
				for i := range coef {
					coef[i] = float32(i%3) - 1.2
				}
				loss := func() float64 {
					sum := 0.0
					for i, v := range p.Forward(s, true) {
						sum += float64(coef[i]) * float64(v)
					}
					return sum
				}
				loss()
				params.ZeroGrad()
				p.Backward(coef)
				var vars []gradcheck.Var
				for _, q := range params.List() {
					if changed != nil && golden.MaxDiff(q.Grad, make([]float32, len(q.Grad))) == 0 {
						continue // module_dropout left the module out
					}
					vars = append(vars, gradcheck.Var{Name: q.Name, Data: q.Data, Grad: slices.Clone(q.Grad)})
				}
				if len(vars) == 0 {
					t.Fatal("nothing was left to train")
				}
				gradcheck.Check(t, loss, vars, 1e-2)
			})
		}
	}
}

// TestMethodSlots trains two slots of a bank and the base alone in one step: each document's log-probabilities and gradients are those of a
// step of its own.
func TestMethodSlots(t *testing.T) {
	for name, c := range methodCases(t) {
		t.Run(name, func(t *testing.T) {
			m, _, a := c.build(t, nil)
			if _, one := c.Refuses["segments"]; a.Segmentable() == one {
				t.Fatalf("Segmentable is %v, which the case denies", a.Segmentable())
			} else if one {
				return
			}
			s := packed(6, 4, 5, 3)
			slots := []int{1, -1, 0, 1}
			for d, doc := range s.Docs {
				s.Segments = append(s.Segments, nn.Segment{Start: int(doc.Start), End: int(doc.End), Slot: slots[d]})
			}
			bank := nn.NewParams(2)
			defer bank.Free()
			p := compileFor(t, m, a, bank, nn.ModeTrain, s)
			shake(bank)
			coef := make([]float32, p.Supervised(s))
			for i := range coef {
				coef[i] = -1
			}
			logp := slices.Clone(p.Forward(s, true))
			bank.ZeroGrad()
			p.Backward(coef)
			sums := map[string][]float32{}
			at := 0
			for d, slot := range slots {
				doc := s.Docs[d]
				n := int(doc.End - doc.Start)
				one := &nn.Step{Tokens: s.Tokens[doc.Start:doc.End], Positions: s.Positions[doc.Start:doc.End],
					Docs:   []kernels.Doc{{End: int32(n), Slot: -1}},
					DocIDs: s.DocIDs[d : d+1], Index: s.Index}
				for i := range int32(n - 1) {
					one.Rows, one.Labels = append(one.Rows, i), append(one.Labels, one.Tokens[i+1])
				}
				params := nn.NewParams(1)
				defer params.Free()
				var adapter *peft.Adapter
				mode := nn.ModeScore
				if slot >= 0 {
					adapter, mode = a, nn.ModeTrain
				}
				q := compileFor(t, m, adapter, params, mode, one)
				for _, v := range params.List() {
					copy(v.Data, bank.Get(v.Name).Slot(slot))
				}
				want := q.Forward(one, true)[:n-1]
				if diff := golden.MaxDiff(logp[at:at+n-1], want); diff > 1e-4 {
					t.Errorf("document %d, slot %d: log-probabilities differ by %g from a step of its own", d, slot, diff)
				}
				if slot >= 0 {
					params.ZeroGrad()
					q.Backward(coef[:q.Supervised(one)])
					for _, v := range params.List() {
						key := v.Name + "#" + string(rune('0'+slot))
						if sums[key] == nil {
							sums[key] = make([]float32, len(v.Grad))
						}
						for i, g := range v.Grad {
							sums[key][i] += g
						}
					}
				}
				at += n - 1
			}
			for _, v := range bank.List() {
				for slot := range 2 {
					if diff := golden.RelDiff(v.GradSlot(slot), sums[v.Name+"#"+string(rune('0'+slot))]); diff > 1e-3 {
						t.Errorf("slot %d: gradient of %s differs by %g", slot, v.Name, diff)
					}
				}
			}
		})
	}
}

// TestMethodFolders saves every method's adapter, opens it, and saves it again: the same values, the same bytes, the same
// log-probabilities.
func TestMethodFolders(t *testing.T) {
	for name, c := range methodCases(t) {
		t.Run(name, func(t *testing.T) {
			m, sites, a := c.build(t, nil)
			params, other := nn.NewParams(1), nn.NewParams(1)
			defer params.Free()
			defer other.Free()
			s := packed(5, 7)
			p := compileFor(t, m, a, params, nn.ModeScore, s)
			fresh := slices.Clone(p.Forward(s, false))
			checkNewParams(t, a, params)
			shake(params)
			want := slices.Clone(p.Forward(s, false))
			if golden.MaxDiff(fresh, want) < 1e-3 {
				t.Error("the parameters change nothing")
			}
			dir, again := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
			if err := a.Save(dir, params, 0, peft.Card{}); err != nil {
				t.Fatal(err)
			}
			b, err := peft.Open(dir, sites, peft.Env{BaseModel: "base", Seed: 99})
			if err != nil {
				t.Fatal(err)
			}
			q := compileFor(t, m, b, other, nn.ModeScore, s)
			checkNewParams(t, b, other)
			if d := golden.MaxDiff(q.Forward(s, false), want); d > 1e-6 {
				t.Errorf("the opened adapter's log-probabilities differ by %g", d)
			}
			if err := b.Save(again, other, 0, peft.Card{}); err != nil {
				t.Fatal(err)
			}
			for _, f := range []string{peft.ConfigFile, filepath.Base(peft.TensorPath(dir))} {
				x, _ := os.ReadFile(filepath.Join(dir, f))
				y, _ := os.ReadFile(filepath.Join(again, f))
				if len(x) == 0 || string(x) != string(y) {
					t.Errorf("%s is not the same after opening and saving", f)
				}
			}
		})
	}
}

// checkNewParams compares the parameters that the adapter makes with those that a program compiled with it has made in params, by name.
func checkNewParams(t *testing.T, a *peft.Adapter, params *nn.Params) {
	t.Helper()
	own, err := a.NewParams(2)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Free()
	if len(own.List()) != len(params.List()) {
		t.Errorf("NewParams makes %d parameters, a program %d", len(own.List()), len(params.List()))
	}
	for _, want := range params.List() {
		got := own.Get(want.Name)
		if got == nil || got.Rows != want.Rows || got.Cols != want.Cols {
			t.Errorf("NewParams makes %+v of %s, a program [%d, %d]", got, want.Name, want.Rows, want.Cols)
			continue
		}
		for slot := range own.Slots() {
			if !slices.Equal(got.Slot(slot), want.Slot(0)) {
				t.Errorf("slot %d of %s starts otherwise than in a program", slot, want.Name)
			}
		}
	}
}

// checkMergeStream compares what is merged module by module with what is merged at once, in another order than that of the modules.
func checkMergeStream(t *testing.T, a *peft.Adapter, params *nn.Params, merged map[string][]float32) {
	t.Helper()
	s, err := a.MergeStream(params, 0, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(merged))
	if !slices.Equal(slices.Sorted(maps.Keys(s.Sizes())), names) {
		t.Fatalf("module by module the tensors %v change, at once %v", slices.Sorted(maps.Keys(s.Sizes())), names)
	}
	slices.Reverse(names)
	for _, name := range names {
		if v, err := s.Tensor(name); err != nil || !slices.Equal(v, merged[name]) {
			t.Errorf("%s has other values when merged alone: %v", name, err)
		}
	}
}

// TestMethodMerges folds every method that can be into the base: the merged model without adapter computes what base and adapter do.
func TestMethodMerges(t *testing.T) {
	for name, c := range methodCases(t) {
		t.Run(name, func(t *testing.T) {
			m, _, a := c.build(t, nil)
			params := nn.NewParams(1)
			defer params.Free()
			s := packed(5, 7)
			p := compileFor(t, m, a, params, nn.ModeScore, s)
			shake(params)
			want := slices.Clone(p.Forward(s, false))
			merged, err := a.Merge(params, 0, nil)
			if c.refused(t, "merge", err) {
				return
			}
			checkMergeStream(t, a, params, merged)
			got := nn.NewParams(1)
			defer got.Free()
			q := compileWith(t, m, replaced{t: t, tensors: merged, tied: map[quant.Weight][]float32{}}, got, s)
			if d := golden.MaxDiff(q.Forward(s, false), want); d > 1e-3 {
				t.Errorf("the merged model's log-probabilities differ by %g", d)
			}
		})
	}
}

// replaced is an adapter that puts other weights in the base's place.
type replaced struct {
	t       *testing.T
	tensors map[string][]float32
	tied    map[quant.Weight][]float32 // of the embedding, for a head that shares it
}

// Adapt implements nn.Adapter.
func (r replaced) Adapt(b *nn.Builder, s nn.Site) nn.Ref {
	w, bias := r.tensors[s.Name+".weight"], r.tensors[s.Name+".bias"]
	switch o := s.Op.(type) {
	case *nn.Embedding:
		r.tied[o.W] = w
	case *nn.Head:
		if w == nil {
			w = r.tied[o.W]
		}
	}
	if w == nil && bias == nil {
		return s.Out
	}
	dense := func(out, in int, transposed bool, old quant.Weight) quant.Weight {
		if w == nil {
			return old
		}
		if transposed {
			return quant.NewF32(out, in, w, 1, out)
		}
		return quant.NewF32(out, in, w, in, 1)
	}
	switch o := s.Op.(type) {
	case *nn.Linear:
		c := *o
		c.W = dense(o.Out, o.In, o.Transposed, o.W)
		if bias != nil {
			c.Bias = bias
		}
		return b.Apply(&c, s.In...)
	case *nn.Embedding:
		c := *o
		c.W = dense(o.V, o.D, false, o.W)
		return b.Apply(&c, s.In...)
	case *nn.Head:
		c := *o
		c.W = dense(o.V, o.D, false, o.W)
		if bias != nil {
			c.Bias = bias
		}
		return b.Apply(&c, s.In...)
	case *nn.RMSNorm:
		c := *o
		if w != nil {
			c.W = w
		}
		return b.Apply(&c, s.In...)
	case *nn.LayerNorm:
		c := *o
		if w != nil {
			c.W = w
		}
		if bias != nil {
			c.B = bias
		}
		return b.Apply(&c, s.In...)
	}
	r.t.Errorf("a merged tensor of %s, which is a %s", s.Name, s.Kind)
	return s.Out
}

func compileWith(t *testing.T, m nn.Wiring, a nn.Adapter, params *nn.Params, s *nn.Step) *nn.Program {
	t.Helper()
	p, err := nn.Compile(m, []nn.Adapter{a}, params,
		nn.Options{Mode: nn.ModeScore, Caps: nn.Caps{T: len(s.Tokens), S: len(s.Rows), N: len(s.Docs)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// TestMethodStart looks at a fresh adapter: it is a function of seed and configuration, and finite.
func TestMethodStart(t *testing.T) {
	for name, c := range methodCases(t) {
		t.Run(name, func(t *testing.T) {
			_, _, a := c.build(t, nil)
			_, _, b := c.build(t, nil)
			for i, p := range a.Params() {
				x, y := make([]float32, p.Size()), make([]float32, p.Size())
				if p.Init != nil {
					p.Init(x)
					b.Params()[i].Init(y)
				}
				if !slices.Equal(x, y) {
					t.Errorf("%s starts from other values in a second adapter", p.Name)
				}
				for _, v := range x {
					if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
						t.Errorf("%s starts from %g", p.Name, v)
						break
					}
				}
			}
		})
	}
}
