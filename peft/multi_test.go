package peft_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

type multiCase struct {
	Adapters    []string  `json:"adapters"`
	Weights     []float64 `json:"weights"`
	Type        string    `json:"combination_type"`
	SVDRank     int       `json:"svd_rank"`
	Density     float64   `json:"density"`
	Sign        string    `json:"majority_sign_method"`
	R           int       `json:"result_r"`
	Alpha       float64   `json:"result_alpha"`
	NamesOfRows []string  `json:"adapter_names"`
}

// multi is the golden data of several adapters over one base.
type multi struct {
	dir   string
	m     *model.Model
	sites []nn.Site
	env   peft.Env
	batch golden.Batch
}

func openMulti(t *testing.T) multi {
	t.Helper()
	root := golden.Root(t, "testdata")
	models := filepath.Join(root, "models")
	if _, err := os.Stat(models); err != nil {
		models = filepath.Join("..", "model", "testdata", "models")
	}
	base := filepath.Join(models, "llama_gqa")
	m, err := model.Load(base)
	if err != nil {
		t.Fatal(err)
	}
	return multi{dir: filepath.Join(root, "multi"), m: m, sites: nn.Sites(m),
		env:   peft.Env{ModelType: m.Config.ModelType, BaseModel: "models/llama_gqa"},
		batch: golden.Open(t, filepath.Join(base, "inputs.safetensors")).Batch("")}
}

func (x multi) open(t *testing.T, name string) *peft.Adapter {
	t.Helper()
	a, err := peft.Open(filepath.Join(x.dir, "adapter_"+name), x.sites, x.env)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// step packs rows of the batch and gives, for each row of logits, its place in the batch.
func (x multi) step(rows int) (*nn.Step, []int) {
	b := x.batch.Row(0, rows)
	return nn.FromBatch(b.IDs, b.Mask, nil, rows, b.T)
}

// near compares logits of real tokens with those of the golden data, [rows, T, V].
func (x multi) near(t *testing.T, what string, got []float32, at []int, want []float32) {
	t.Helper()
	v := x.m.Config.Vocab
	worst := 0.0
	for i, k := range at {
		worst = max(worst, golden.MaxDiff(got[i*v:(i+1)*v], want[k*v:(k+1)*v]))
	}
	if worst > 2e-4 {
		t.Errorf("%s: logits differ by %.2e", what, worst)
	}
}

func (x multi) program(t *testing.T, as []nn.Adapter, params *nn.Params, s *nn.Step) *nn.Program {
	t.Helper()
	p, err := nn.Compile(x.m, as, params, nn.Options{Mode: nn.ModeLogits,
		Caps: nn.Caps{T: len(s.Tokens), S: len(s.Rows), N: len(s.Docs)}, Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// TestGoldenCombinations compares every kind of weighted combination with HF PEFT's add_weighted_adapter: matrices, products, logits.
func TestGoldenCombinations(t *testing.T) {
	x := openMulti(t)
	ran := 0
	var absent []string
	index := golden.JSON[map[string]multiCase](t, filepath.Join(x.dir, "index.json"))
	for name, c := range index {
		if strings.HasPrefix(name, "_") {
			continue
		}
		path := filepath.Join(x.dir, name+".safetensors")
		if _, err := os.Stat(path); err != nil {
			absent = append(absent, name)
			continue
		}
		ran++
		t.Run(name, func(t *testing.T) {
			want := golden.Open(t, path)
			var as []*peft.Adapter
			for _, n := range c.Adapters {
				as = append(as, x.open(t, n))
			}
			a, err := peft.Combine(as, peft.Combination{Type: c.Type, Weights: c.Weights, SVDRank: c.SVDRank, Density: c.Density,
				MajoritySignMethod: c.Sign})
			if err != nil {
				t.Fatal(err)
			}
			params := nn.NewParams(1)
			defer params.Free()
			s, at := x.step(1)
			p := x.program(t, []nn.Adapter{a}, params, s)
			x.near(t, "combination", p.Forward(s, false), at, want.F32("logits"))
			svd := strings.HasSuffix(c.Type, "svd")
			tensors := 0
			for _, q := range a.Params() {
				if key := "adapter." + q.Key; want.Has(key) {
					tensors++
					if shape := want.Shape(key); !slices.Equal(shape, q.Shape) {
						t.Fatalf("%s has the shape %v, want %v", q.Key, q.Shape, shape)
					}
					// The signs of singular vectors are a matter of the library; their products are compared below.
					if d := golden.MaxDiff(params.Get(q.Name).Data, want.F32(key)); !svd && d > 1e-6 {
						t.Errorf("%s differs by %g", q.Key, d)
					}
				}
			}
			if tensors != len(a.Params()) {
				t.Errorf("%d tensors, %d in the golden data", len(a.Params()), tensors)
			}
			for _, n := range want.Names() {
				module, ok := strings.CutPrefix(n, "delta.")
				if !ok {
					continue
				}
				module = strings.TrimPrefix(module, "base_model.model.")
				zero := func(tensor string) ([]float32, error) {
					for _, s := range x.sites {
						if l, ok := s.Op.(*nn.Linear); ok && s.Name+".weight" == tensor {
							return make([]float32, l.Out*l.In), nil
						}
					}
					t.Fatalf("no site for %s", tensor)
					return nil, nil
				}
				merged, err := a.Merge(params, 0, zero)
				if err != nil {
					t.Fatal(err)
				}
				if d := golden.MaxDiff(merged[module+".weight"], want.F32(n)); d > 1e-5 {
					t.Errorf("the change of %s differs by %g", module, d)
				}
			}
		})
	}
	t.Logf("golden multi: %d cases ran, not in this folder: %v", ran, absent)
	if ran == 0 {
		t.Error("no case ran")
	}
}

// TestGoldenSet compares adapters that are loaded together, switched, added up, mixed in one batch and swapped with HF PEFT's logits (where
// the golden data has them) and with each adapter alone.
func TestGoldenSet(t *testing.T) {
	x := openMulti(t)
	set := &peft.Set{}
	for _, n := range []string{"a", "b", "c"} {
		if err := set.Add(n, x.open(t, n)); err != nil {
			t.Fatal(err)
		}
	}
	params := nn.NewParams(1)
	defer params.Free()
	rows := x.batch.B
	s, at := x.step(rows)
	p := x.program(t, set.Adapters(), params, s)
	logits := func(slots ...int) []float32 { // one a row, or one for all
		s.Segments = s.Segments[:0]
		for i, d := range s.Docs {
			s.Segments = append(s.Segments, nn.Segment{Start: int(d.Start), End: int(d.End), Slot: slots[min(i, len(slots)-1)]})
		}
		return slices.Clone(p.Forward(s, false))
	}
	slot := func(names ...string) int {
		i, err := set.Select(names...)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	var want *golden.File
	if path := filepath.Join(x.dir, "logits.safetensors"); exists(path) {
		f := golden.Open(t, path)
		want = &f
	}
	check := func(what string, got []float32, name string) {
		t.Helper()
		if want != nil {
			x.near(t, what, got, at, want.F32(name))
		}
	}
	single := map[string][]float32{}
	for _, n := range []string{"a", "b", "c", peft.BaseName} {
		single[n] = logits(slot(n))
		alone := nn.NewParams(1)
		var as []nn.Adapter
		if n != peft.BaseName {
			as = append(as, x.open(t, n))
		}
		q := x.program(t, as, alone, s)
		s.Segments = nil
		if !slices.Equal(single[n], q.Forward(s, false)) {
			t.Errorf("%s in the set computes something else than alone", n)
		}
		alone.Free()
		check(n, single[n], "logits_"+map[bool]string{true: "base", false: n}[n == peft.BaseName])
	}
	names := golden.JSON[map[string]multiCase](t, filepath.Join(x.dir, "index.json"))["_mixed_batch"].NamesOfRows
	var slots []int
	for _, n := range names {
		slots = append(slots, slot(n))
	}
	mixed := logits(slots...)
	check("mixed batch", mixed, "logits_mixed")
	v := x.m.Config.Vocab
	for i, k := range at {
		if r := k / x.batch.T; !slices.Equal(mixed[i*v:(i+1)*v], single[names[r]][i*v:(i+1)*v]) {
			t.Fatalf("row %d of the mixed batch is not that of %s", r, names[r])
		}
	}
	check("a and c", logits(slot("a", "c")), "logits_a_and_c_active")
	if slot("c", "a") != slot("a", "c") {
		t.Error("the order of the names makes another selection")
	}

	// Hot swap: other values in the same program, with another lora_alpha.
	if err := set.Get("a").HotSwap(params, 0, x.open(t, "b")); err != nil {
		t.Fatal(err)
	}
	swapped := logits(slot("a"))
	check("hot swap", swapped, "logits_after_hotswap_a_to_b")
	if d := golden.MaxDiff(swapped, single["b"]); d > 1e-5 {
		t.Errorf("after the swap the logits differ from b's by %g", d)
	}
	if err := set.Get("a").HotSwap(params, 0, x.open(t, "c")); err == nil {
		t.Error("an adapter of another rank was swapped in")
	}
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// TestSetRefuses names what cannot be mixed, and what cannot be combined.
func TestSetRefuses(t *testing.T) {
	x := openMulti(t)
	set := &peft.Set{}
	if err := set.Add("a", x.open(t, "a")); err != nil {
		t.Fatal(err)
	}
	full, err := peft.New("FULL", nil, x.sites, x.env)
	if err != nil {
		t.Fatal(err)
	}
	loha, err := peft.New("LOHA", map[string]any{"target_modules": []string{"q_proj"}}, x.sites, x.env)
	if err != nil {
		t.Fatal(err)
	}
	wantError := func(err error, part string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want one with %q", err, part)
		}
	}
	wantError(set.Add("full", full), "cannot be mixed")
	wantError(set.Add("a", x.open(t, "b")), "two adapters")
	wantError(set.Add(peft.BaseName, x.open(t, "b")), "cannot be the name")
	_, err = set.Select("a", "z")
	wantError(err, `"z"`)
	combine := func(c peft.Combination, names ...string) error {
		var as []*peft.Adapter
		for _, n := range names {
			as = append(as, x.open(t, n))
		}
		_, err := peft.Combine(as, c)
		return err
	}
	wantError(combine(peft.Combination{Type: "linear", Weights: []float64{1, 1}}, "a", "c"), "same rank")
	wantError(combine(peft.Combination{Type: "linear", Weights: []float64{1}}, "a", "b"), "one weight an adapter")
	wantError(combine(peft.Combination{Type: "average", Weights: []float64{1, 1}}, "a", "b"), "must be one of")
	wantError(combine(peft.Combination{Type: "cat_svd", Weights: []float64{1, 1}}, "a", "b"), "must be one of")
	wantError(combine(peft.Combination{Type: "ties", Weights: []float64{1, 1}}, "a", "b"), "density")
	wantError(combine(peft.Combination{Type: "svd", SVDRank: 4096, Weights: []float64{1, 1}}, "a", "b"), "above the dimensions")
	wantError(combine(peft.Combination{Type: "cat", Weights: []float64{1, 3e38}}, "a", "b"), "the weights [1 3e+38] makes the values")
	_, err = peft.Combine([]*peft.Adapter{x.open(t, "a"), loha}, peft.Combination{Type: "svd", Weights: []float64{1, 1}})
	wantError(err, "only LORA")
	// Adapters of two methods in one program are no less mixed.
	if err := set.Add("loha", loha); err != nil {
		t.Error(err)
	}
}

// TestDare keeps the share of values that density says, scaled so that the mean stays, the same for the same seed.
func TestDare(t *testing.T) {
	x := openMulti(t)
	values := func(seed uint64) []float32 {
		a, err := peft.Combine([]*peft.Adapter{x.open(t, "a"), x.open(t, "b")},
			peft.Combination{Type: "dare_linear", Weights: []float64{1, 0}, Density: 0.5, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		v := make([]float32, a.Params()[0].Size())
		a.Params()[0].Init(v)
		return v
	}
	v := values(1)
	if !slices.Equal(v, values(1)) || slices.Equal(v, values(2)) {
		t.Error("the choice is not that of the seed")
	}
	zeros := 0
	for _, f := range v {
		if f == 0 {
			zeros++
		}
	}
	if share := float64(zeros) / float64(len(v)); share < 0.35 || share > 0.65 {
		t.Errorf("%.2f of the values were left out, want about half", share)
	}
}
