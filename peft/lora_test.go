package peft_test

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/gradcheck"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

func base(t *testing.T, name string) *model.Model {
	t.Helper()
	m, err := model.Load(filepath.Join("..", "model", "testdata", "models", name))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func attach(t *testing.T, m *model.Model, config map[string]any) *peft.Adapter {
	t.Helper()
	a, err := peft.New("LORA", config, nn.Sites(m), peft.Env{ModelType: m.Config.ModelType, BaseModel: "base", Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// packed is a step of documents of the given lengths; every token but the first of each has a loss.
func packed(lengths ...int) *nn.Step {
	s := &nn.Step{Index: 4}
	for d, n := range lengths {
		start := int32(len(s.Tokens))
		for i := range n {
			s.Tokens, s.Positions = append(s.Tokens, int32(3+(len(s.Tokens)*7)%250)), append(s.Positions, int32(i))
		}
		s.Docs, s.DocIDs = append(s.Docs, kernels.Doc{Start: start, End: start + int32(n), Slot: -1}), append(s.DocIDs, uint64(90+d))
		for i := range int32(n - 1) {
			s.Rows, s.Labels = append(s.Rows, start+i), append(s.Labels, s.Tokens[start+i+1])
		}
	}
	return s
}

func compiled(t *testing.T, m *model.Model, a *peft.Adapter, params *nn.Params, mode nn.Mode, s *nn.Step) *nn.Program {
	t.Helper()
	var as []nn.Adapter
	if a != nil {
		as = []nn.Adapter{a}
	}
	p, err := nn.Compile(m, as, params, nn.Options{Mode: mode, Caps: nn.Caps{T: len(s.Tokens), S: len(s.Rows), N: len(s.Docs)}, Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// shake gives every parameter values that are not small, so that every path carries a gradient.
func shake(params *nn.Params) {
	for k, q := range params.List() {
		for i := range q.Data {
			q.Data[i] += float32(math.Sin(float64(i*7+k*31)) * 0.2)
		}
	}
}

var gradientCases = map[string]struct {
	base   string
	config map[string]any
}{
	"linears with dropout": {"llama_gqa", map[string]any{"r": 3, "lora_alpha": 5, "lora_dropout": 0.4,
		"target_modules": "all-linear"}},
	"Conv1D": {"gpt2", map[string]any{"r": 2, "lora_dropout": 0.2, "target_modules": []string{"c_attn", "c_proj"},
		"fan_in_fan_out": true}},
	"embedding and head": {"llama_gqa", map[string]any{"r": 2, "target_modules": []string{"embed_tokens", "lm_head"},
		"use_rslora": true}},
	"biases": {"qwen2", map[string]any{"r": 2, "target_modules": []string{"q_proj"}, "bias": "all"}},
	"modules to save": {"llama_gqa", map[string]any{"r": 2, "target_modules": []string{"q_proj"},
		"modules_to_save": []string{"norm", "k_proj"}}},
	"trainable token indices": {"llama_gqa", map[string]any{"r": 2, "target_modules": []string{"v_proj"},
		"trainable_token_indices": []int{3, 10, 17, 24}}},
	"DoRA with dropout": {"llama_gqa", map[string]any{"r": 3, "lora_dropout": 0.3, "lora_alpha": 5, "use_dora": true,
		"target_modules": []string{"v_proj", "up_proj", "o_proj"}}},
	"DoRA of Conv1D, biases": {"gpt2", map[string]any{"r": 2, "use_dora": true, "target_modules": []string{"c_attn", "c_fc"},
		"bias": "lora_only", "fan_in_fan_out": true}},
	"DoRA of embeddings": {"gpt2", map[string]any{"r": 2, "use_dora": true, "target_modules": []string{"wpe", "c_fc"},
		"use_rslora": true}},
	"DoRA over PiSSA": {"llama_gqa", map[string]any{"r": 2, "use_dora": true, "init_lora_weights": "pissa",
		"target_modules": []string{"k_proj", "down_proj"}}},
	"aLoRA": {"llama_gqa", map[string]any{"r": 2, "alora_invocation_tokens": []int{10, 17}, "lora_dropout": 0.2,
		"target_modules": []string{"q_proj", "down_proj"}}},
	"bias of B": {"llama_gqa", map[string]any{"r": 2, "lora_bias": true, "lora_dropout": 0.2,
		"target_modules": []string{"q_proj", "down_proj"}}},
	"OLoRA": {"llama_gqa", map[string]any{"r": 2, "init_lora_weights": "olora",
		"target_modules": []string{"q_proj", "lm_head"}}},
	"orthogonal": {"llama_gqa", map[string]any{"r": 2, "init_lora_weights": "orthogonal",
		"target_modules": []string{"q_proj", "down_proj"}}},
	"replicated layers": {"llama_gqa", map[string]any{"r": 2, "layer_replication": [][]int{{0, 2}, {0, 1}},
		"target_modules": []string{"q_proj"}}},
	"parameters": {"llama_gqa", map[string]any{"r": 2, "target_modules": []string{},
		"target_parameters": []string{"q_proj.weight", "lm_head.weight"}}},
	"patterns of rank and alpha": {"llama_gqa", map[string]any{"r": 2, "target_modules": []string{"q_proj", "up_proj"},
		"rank_pattern": map[string]int{"up_proj": 5}, "alpha_pattern": map[string]float64{"up_proj": 2}}},
}

// TestLoraGradients compares every gradient with differences of the loss, dropout on.
func TestLoraGradients(t *testing.T) {
	for name, c := range gradientCases {
		t.Run(name, func(t *testing.T) {
			m := base(t, c.base)
			a := attach(t, m, c.config)
			params := nn.NewParams(1)
			defer params.Free()
			s := packed(5, 1, 7)
			p := compiled(t, m, a, params, nn.ModeTrain, s)
			shake(params)
			peft.HoldNorms(a, params)
			coef := make([]float32, len(s.Rows))
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
				vars = append(vars, gradcheck.Var{Name: q.Name, Data: q.Data, Grad: slices.Clone(q.Grad)})
			}
			gradcheck.Check(t, loss, vars, 1e-2)
		})
	}
}

// TestLoraSlots trains two slots of a bank and the base alone in one step: each slot's log-probabilities and gradients are those of a step
// of its own.
func TestLoraSlots(t *testing.T) {
	for name, config := range map[string]map[string]any{
		"plain": {"lora_dropout": 0.3},
		"DoRA":  {"lora_dropout": 0.3, "use_dora": true},
		"bias":  {"lora_dropout": 0.3, "lora_bias": true},
		"aLoRA": {"lora_dropout": 0.3, "alora_invocation_tokens": []int{17}},
	} {
		t.Run(name, func(t *testing.T) {
			config["r"], config["lora_alpha"], config["target_modules"] = 3, 6, "all-linear"
			slots(t, config)
		})
	}
	if attach(t, base(t, "llama_gqa"), map[string]any{"init_lora_weights": "pissa"}).Segmentable() {
		t.Error("an adapter that changed the base has no segment of the base alone")
	}
}

func slots(t *testing.T, config map[string]any) {
	m := base(t, "llama_gqa")
	a := attach(t, m, config)
	if !a.Segmentable() {
		t.Fatal("LoRA on linear layers uses banks")
	}
	s := packed(6, 4, 5)
	s.Segments = []nn.Segment{{Start: 0, End: 6, Slot: 1}, {Start: 6, End: 10, Slot: -1}, {Start: 10, End: 15, Slot: 0}}
	bank := nn.NewParams(2)
	defer bank.Free()
	p := compiled(t, m, a, bank, nn.ModeTrain, s)
	for _, q := range bank.List() {
		for i := range q.Data {
			q.Data[i] = float32(math.Cos(float64(i*5+len(q.Name)))) * 0.1
		}
	}
	coef := make([]float32, len(s.Rows))
	for i := range coef {
		coef[i] = -1
	}
	logp := slices.Clone(p.Forward(s, true))
	bank.ZeroGrad()
	p.Backward(coef)
	at := 0
	for d, slot := range []int{1, -1, 0} {
		doc := s.Docs[d]
		n := int(doc.End - doc.Start)
		one := &nn.Step{Tokens: s.Tokens[doc.Start:doc.End], Positions: s.Positions[doc.Start:doc.End],
			Docs:   []kernels.Doc{{End: int32(n), Slot: -1}},
			DocIDs: s.DocIDs[d : d+1], Index: s.Index}
		for i := range int32(n - 1) {
			one.Rows, one.Labels = append(one.Rows, i), append(one.Labels, one.Tokens[i+1])
		}
		params := nn.NewParams(1)
		var adapter *peft.Adapter
		mode := nn.ModeScore
		if slot >= 0 {
			adapter, mode = a, nn.ModeTrain
		}
		q := compiled(t, m, adapter, params, mode, one)
		for _, v := range params.List() {
			copy(v.Data, bank.Get(v.Name).Slot(slot))
		}
		want := q.Forward(one, true)
		if diff := golden.MaxDiff(logp[at:at+n-1], want); diff > 1e-5 {
			t.Errorf("slot %d: log-probabilities differ by %g from a step of its own", slot, diff)
		}
		if slot >= 0 {
			params.ZeroGrad()
			q.Backward(coef[:n-1])
			for _, v := range params.List() {
				if diff := golden.RelDiff(bank.Get(v.Name).GradSlot(slot), v.Grad); diff > 1e-4 {
					t.Errorf("slot %d: gradient of %s differs by %g", slot, v.Name, diff)
				}
			}
		}
		at += n - 1
		params.Free()
	}
}

// TestLoraInit looks at the distributions that init_lora_weights asks for, and at what the seed changes.
func TestLoraInit(t *testing.T) {
	m := base(t, "llama_gqa")
	values := func(config map[string]any, seed uint64) map[string][]float32 {
		c := map[string]any{"r": 8, "target_modules": []string{"q_proj", "v_proj"}}
		for k, v := range config {
			c[k] = v
		}
		a, err := peft.New("LORA", c, nn.Sites(m), peft.Env{ModelType: "llama", Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		out := map[string][]float32{}
		for _, p := range a.Params() {
			x := make([]float32, p.Size())
			if p.Init != nil {
				p.Init(x)
			}
			out[p.Name] = x
		}
		return out
	}
	std := func(x []float32) float64 {
		s := 0.0
		for _, v := range x {
			s += float64(v) * float64(v)
		}
		return math.Sqrt(s / float64(len(x)))
	}
	in := float64(golden.JSON[struct {
		Hidden int `json:"hidden_size"`
	}](t, filepath.Join("..", "model", "testdata", "models", "llama_gqa", "config.json")).Hidden)
	for name, c := range map[string]struct {
		init       any
		stdA, stdB float64
		bound      float64
	}{
		"true":     {true, 1 / math.Sqrt(3*in), 0, 1 / math.Sqrt(in)},    // kaiming_uniform_(a=√5): U(±1/√in)
		"gaussian": {"gaussian", 1.0 / 8, 0, math.Inf(1)},                // N(0, 1/r)
		"false":    {false, 1 / math.Sqrt(3*in), 1 / math.Sqrt(3*8), 10}, // as nn.Linear: B too
	} {
		v := values(map[string]any{"init_lora_weights": c.init}, 1)
		for n, x := range v {
			want := c.stdA
			if strings.Contains(n, "lora_B") {
				want = c.stdB
			}
			if got := std(x); math.Abs(got-want) > 0.15*want {
				t.Errorf("%s: %s has deviation %g, want %g", name, n, got, want)
			}
			for _, y := range x {
				if math.Abs(float64(y)) > c.bound {
					t.Errorf("%s: %s has %g beyond %g", name, n, y, c.bound)
					break
				}
			}
		}
		again, other := values(map[string]any{"init_lora_weights": c.init}, 1), values(map[string]any{"init_lora_weights": c.init}, 2)
		fewer := values(map[string]any{"init_lora_weights": c.init, "target_modules": []string{"v_proj"}}, 1)
		for n, x := range v {
			if !slices.Equal(x, again[n]) {
				t.Errorf("%s: %s differs with the same seed", name, n)
			}
			if std(x) > 0 && slices.Equal(x, other[n]) {
				t.Errorf("%s: %s is the same with another seed", name, n)
			}
			if f, ok := fewer[n]; ok && !slices.Equal(x, f) {
				t.Errorf("%s: %s depends on the other targets", name, n)
			}
		}
	}
}

// TestConverted writes adapters that changed the base as plain LoRA, which computes and merges to the same.
func TestConverted(t *testing.T) {
	m := base(t, "llama_gqa")
	for name, config := range map[string]map[string]any{
		"pissa":         {"init_lora_weights": "pissa", "rank_pattern": map[string]int{"k_proj": 3}},
		"pissa_niter_2": {"init_lora_weights": "pissa_niter_2", "use_rslora": true},
		"olora":         {"init_lora_weights": "olora", "target_modules": []string{"q_proj", "embed_tokens", "lm_head"}},
		"dora":          {"init_lora_weights": "olora", "use_dora": true},
	} {
		t.Run(name, func(t *testing.T) {
			config["r"] = 2
			if config["target_modules"] == nil {
				config["target_modules"] = []string{"q_proj", "k_proj", "down_proj"}
			}
			a := attach(t, m, config)
			params := nn.NewParams(1)
			defer params.Free()
			s := packed(9, 5)
			before := slices.Clone(compiled(t, m, nil, nn.NewParams(1), nn.ModeScore, s).Forward(s, false))
			p := compiled(t, m, a, params, nn.ModeScore, s)
			if d := golden.MaxDiff(p.Forward(s, false), before); d > 1e-5 {
				t.Errorf("the adapter starts at log-probabilities that differ from the base's by %g", d)
			}
			shake(params)
			want := slices.Clone(p.Forward(s, false))
			merged, err := a.Merge(params, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "plain")
			save := a.SaveConverted
			if name == "pissa_niter_2" {
				save = a.Save // no other folder of it can be opened again
			}
			if err := save(dir, params, 0, peft.Card{}); err != nil {
				t.Fatal(err)
			}
			b, err := peft.Open(dir, nn.Sites(m), peft.Env{ModelType: "llama", Seed: 77})
			if err != nil {
				t.Fatal(err)
			}
			other := nn.NewParams(1)
			defer other.Free()
			q := compiled(t, m, b, other, nn.ModeScore, s)
			if d := golden.MaxDiff(q.Forward(s, false), want); d > 1e-4 {
				t.Errorf("the plain adapter's log-probabilities differ by %g", d)
			}
			again, err := b.Merge(other, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(again) != len(merged) {
				t.Errorf("%d tensors merged, want %d", len(again), len(merged))
			}
			for n, w := range merged {
				if d := golden.MaxDiff(again[n], w); d > 1e-4 {
					t.Errorf("merged %s differs by %g", n, d)
				}
			}
		})
	}
	if err := attach(t, m, map[string]any{"r": 2}).SaveConverted(t.TempDir(), nil, 0, peft.Card{}); err == nil {
		t.Error("a plain adapter was converted")
	}
}

// TestWrongConfigurations names what is wrong, and what would be right.
func TestWrongConfigurations(t *testing.T) {
	m := base(t, "llama_gqa")
	for name, c := range map[string]struct {
		method string
		config map[string]any
		words  []string
	}{
		"unknown method":     {"LORRA", nil, []string{"LORRA", "LORA"}},
		"unknown field":      {"LORA", map[string]any{"lora_alfa": 2}, []string{"lora_alfa", "lora_alpha"}},
		"not implemented":    {"LORA", map[string]any{"use_qalora": true}, []string{"use_qalora"}},
		"matches nothing":    {"LORA", map[string]any{"target_modules": []string{"query"}}, []string{"query", "q_proj"}},
		"pattern of nothing": {"LORA", map[string]any{"target_modules": "q_proj"}, []string{"q_proj"}},
		"layer that is not": {"LORA", map[string]any{"target_modules": []string{"q_proj"}, "layers_to_transform": []int{99}},
			[]string{"layers_to_transform"}},
		"rank 0": {"LORA", map[string]any{"r": 0}, []string{"r"}},
		"negative rank pattern": {"LORA", map[string]any{"target_modules": []string{"q_proj"},
			"rank_pattern": map[string]int{"q_proj": -1}}, []string{"rank_pattern"}},
		"dropout 1":            {"LORA", map[string]any{"lora_dropout": 1.0}, []string{"lora_dropout"}},
		"bias of another kind": {"LORA", map[string]any{"bias": "some"}, []string{"bias", "some"}},
		"type of a value":      {"LORA", map[string]any{"r": "eight"}, []string{"r", "eight"}},
		"unknown init":         {"LORA", map[string]any{"init_lora_weights": "zeros"}, []string{"init_lora_weights", "zeros"}},
		"token outside": {"LORA", map[string]any{"target_modules": []string{"q_proj"}, "trainable_token_indices": []int{100000}},
			[]string{"100000"}},
		"task": {"LORA", map[string]any{"task_type": "TOKEN_CLS"}, []string{"TOKEN_CLS"}},
		"two variants": {"LORA", map[string]any{"use_dora": true, "alora_invocation_tokens": []int{1}},
			[]string{"use_dora", "alora_invocation_tokens"}},
		"bias and DoRA":  {"LORA", map[string]any{"use_dora": true, "lora_bias": true}, []string{"lora_bias", "use_dora"}},
		"bias and PiSSA": {"LORA", map[string]any{"init_lora_weights": "pissa", "lora_bias": true}, []string{"lora_bias", "pissa"}},
		"bias of an embedding": {"LORA", map[string]any{"target_modules": []string{"embed_tokens"}, "lora_bias": true},
			[]string{"lora_bias", "embed_tokens"}},
		"no invocation": {"LORA", map[string]any{"alora_invocation_tokens": []int{}}, []string{"alora_invocation_tokens"}},
		"invoked embedding": {"LORA", map[string]any{"target_modules": []string{"embed_tokens"}, "alora_invocation_tokens": []int{3}},
			[]string{"embed_tokens"}},
		"DoRA of the head": {"LORA", map[string]any{"target_modules": []string{"lm_head"}, "use_dora": true},
			[]string{"lm_head", "use_dora"}},
		"rank above the layer": {"LORA", map[string]any{"r": 33, "target_modules": []string{"v_proj"}, "init_lora_weights": "pissa"},
			[]string{"33", "[32, 64]"}},
		"odd and orthogonal": {"LORA", map[string]any{"r": 3, "target_modules": []string{"v_proj"}, "init_lora_weights": "orthogonal"},
			[]string{"even", "3"}},
		"half an iteration": {"LORA", map[string]any{"target_modules": []string{"v_proj"}, "init_lora_weights": "pissa_niter_x"},
			[]string{"pissa_niter_x", "olora"}},
		"LoftQ without config": {"LORA", map[string]any{"init_lora_weights": "loftq"}, []string{"loftq_config"}},
		"LoftQ of 2 bits": {"LORA", map[string]any{"init_lora_weights": "loftq", "loftq_config": map[string]int{"loftq_bits": 2}},
			[]string{"loftq_bits", "2"}},
		"LoftQ of nothing": {"LORA", map[string]any{"init_lora_weights": "loftq", "loftq_config": map[string]int{"loftq_iters": 2}},
			[]string{"loftq_iters", "loftq_iter"}},
		"LoftQ of an embedding": {"LORA", map[string]any{"init_lora_weights": "loftq", "loftq_config": map[string]int{"loftq_iter": 2},
			"target_modules": []string{"embed_tokens"}}, []string{"embed_tokens"}},
		"config of LoftQ alone": {"LORA", map[string]any{"loftq_config": map[string]int{"loftq_bits": 4}}, []string{"init_lora_weights"}},
		"EVA below 1": {"LORA", map[string]any{"init_lora_weights": "eva", "eva_config": map[string]any{"rho": 0.5}},
			[]string{"rho"}},
		"unknown field of EVA": {"LORA", map[string]any{"init_lora_weights": "eva", "eva_config": map[string]any{"rhoo": 2}},
			[]string{"rhoo"}},
		"no such layers": {"LORA", map[string]any{"layer_replication": [][]int{{0, 3}}}, []string{"[0, 3]", "2 blocks"}},
		"parameter of a norm": {"LORA", map[string]any{"target_modules": []string{},
			"target_parameters": []string{"input_layernorm.weight"}}, []string{"input_layernorm.weight", "dimension"}},
		"parameter that is not": {"LORA", map[string]any{"target_parameters": []string{"query.weight"}},
			[]string{"target_parameters", "query"}},
		"module and parameter": {"LORA", map[string]any{"target_modules": []string{"q_proj"},
			"target_parameters": []string{"q_proj.weight"}}, []string{"q_proj", "one of them"}},
		"parameter and dropout": {"LORA", map[string]any{"lora_dropout": 0.1, "target_parameters": []string{"q_proj.weight"}},
			[]string{"lora_dropout"}},
		"pattern that is none": {"LORA", map[string]any{"target_modules": "(q_proj"}, []string{"target_modules"}},
		"layers of a pattern": {"LORA", map[string]any{"target_modules": ".*q_proj", "layers_to_transform": []int{0}},
			[]string{"layers_to_transform"}},
	} {
		_, err := peft.New(c.method, c.config, nn.Sites(m), peft.Env{ModelType: "llama"})
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, w := range c.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: the error does not name %q: %v", name, w, err)
			}
		}
	}
}

// saved writes an adapter folder of random values.
func saved(t *testing.T, m *model.Model, config map[string]any) (dir string) {
	t.Helper()
	a := attach(t, m, config)
	params := nn.NewParams(1)
	defer params.Free()
	compiled(t, m, a, params, nn.ModeScore, packed(3))
	shake(params)
	dir = filepath.Join(t.TempDir(), "adapter")
	if err := a.Save(dir, params, 0, peft.Card{Version: "test"}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestWrongFolders refuses adapter folders whose tensors are not what the configuration calls for, by name.
func TestWrongFolders(t *testing.T) {
	m := base(t, "llama_gqa")
	config := map[string]any{"r": 2, "target_modules": []string{"q_proj"}}
	change := func(f func(ts []safetensors.Tensor) []safetensors.Tensor) func(string) {
		return func(dir string) {
			path := filepath.Join(dir, peft.TensorFile)
			r, err := safetensors.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			var ts []safetensors.Tensor
			for _, n := range r.Names() {
				info, _ := r.Info(n)
				x, err := r.Float32(n)
				if err != nil {
					t.Fatal(err)
				}
				ts = append(ts, safetensors.F32(n, x, info.Shape...))
			}
			r.Close()
			if err := safetensors.Write(path, f(ts), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		spoil func(dir string)
		words []string
	}{
		"missing tensor": {change(func(ts []safetensors.Tensor) []safetensors.Tensor { return ts[1:] }), []string{"lora_A", "q_proj"}},
		"extra tensor": {change(func(ts []safetensors.Tensor) []safetensors.Tensor {
			return append(ts, safetensors.F32("base_model.model.lm_head.lora_A.weight", make([]float32, 4), 2, 2))
		}), []string{"lm_head.lora_A"}},
		"another shape": {change(func(ts []safetensors.Tensor) []safetensors.Tensor {
			ts[0] = safetensors.F32(ts[0].Name, make([]float32, 6), 2, 3)
			return ts
		}), []string{"lora_A", "[2 3]"}},
		"not finite": {change(func(ts []safetensors.Tensor) []safetensors.Tensor {
			ts[0].Data[1] = float32(math.NaN())
			return ts
		}), []string{"lora_A", "NaN"}},
		"whole numbers": {change(func(ts []safetensors.Tensor) []safetensors.Tensor {
			ts[0] = safetensors.Tensor{Name: ts[0].Name, DType: "I32", Shape: ts[0].Shape, Raw: make([]byte, 4*len(ts[0].Data))}
			return ts
		}), []string{"lora_A", "dtype I32", "F32, F16 or BF16"}},
		"no folder": {func(dir string) { os.RemoveAll(dir) },
			[]string{"does not exist", "an adapter is a folder with", peft.TensorFile}},
		"no configuration": {func(dir string) { os.Remove(filepath.Join(dir, peft.ConfigFile)) }, []string{"has no " + peft.ConfigFile}},
		"no tensors": {func(dir string) { os.Remove(filepath.Join(dir, peft.TensorFile)) },
			[]string{peft.TensorFile, "copy the whole folder"}},
		"a list": {func(dir string) { os.WriteFile(filepath.Join(dir, peft.ConfigFile), []byte("[1]"), 0o644) },
			[]string{"JSON array", "an object"}},
		"type that is a number": {func(dir string) { os.WriteFile(filepath.Join(dir, peft.ConfigFile), []byte(`{"peft_type": 3}`), 0o644) },
			[]string{"peft_type is a number", "want a string"}},
		"cut configuration": {func(dir string) {
			os.WriteFile(filepath.Join(dir, peft.ConfigFile), []byte(`{"peft_type": "LO`), 0o644)
		}, []string{peft.ConfigFile}},
		"pickle": {func(dir string) {
			os.Rename(filepath.Join(dir, peft.TensorFile), filepath.Join(dir, "adapter_model.bin"))
		}, []string{"adapter_model.bin"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := saved(t, m, config)
			c.spoil(dir)
			_, err := peft.Open(dir, nn.Sites(m), peft.Env{ModelType: "llama"})
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error does not name %q: %v", w, err)
				}
			}
		})
	}
	if _, err := peft.Open(saved(t, base(t, "gpt2"), map[string]any{"r": 2}), nn.Sites(m), peft.Env{ModelType: "llama"}); err == nil {
		t.Error("an adapter of GPT-2 was attached to Llama")
	}
}

// TestSaveReplaces writes a folder over an older one: nothing of the old one stays, and no temporary file.
func TestSaveReplaces(t *testing.T) {
	m := base(t, "llama_gqa")
	dir := saved(t, m, map[string]any{"r": 4, "target_modules": "all-linear"})
	a := attach(t, m, map[string]any{"r": 2, "target_modules": []string{"v_proj"}})
	params, err := a.NewParams(1)
	if err != nil {
		t.Fatal(err)
	}
	defer params.Free()
	if err := a.Save(dir, params, 0, peft.Card{Version: "test",
		Results: [][2]string{{"domain perplexity", "3.14 before, 2.72 after"}}}); err != nil {
		t.Fatal(err)
	}
	b, err := peft.Open(dir, nn.Sites(m), peft.Env{ModelType: "llama"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(b.TargetedModules(), a.TargetedModules()) {
		t.Errorf("targets %v, want %v", b.TargetedModules(), a.TargetedModules())
	}
	var files []string
	filepath.WalkDir(filepath.Dir(dir), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, d.Name())
		}
		return err
	})
	slices.Sort(files)
	if !slices.Equal(files, []string{"README.md", peft.ConfigFile, peft.TensorFile}) {
		t.Errorf("files %v", files)
	}
	card, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{"base_model: base", "library_name: peft", "3.14 before, 2.72 after", "PeftModel.from_pretrained"} {
		if !strings.Contains(string(card), w) {
			t.Errorf("the model card does not say %q:\n%s", w, card)
		}
	}
	if _, err := peft.Open(filepath.Join(dir, "nothing"), nn.Sites(m), peft.Env{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}
