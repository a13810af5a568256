package peft_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// invoke puts the invocation tokens where the generator of the aLoRA case puts them in every batch.
func invoke(meta goldenMeta, ids []int64, length int) {
	if meta.Special["alora"] != true {
		return
	}
	for at := 0; at < len(ids); at += length {
		ids[at+6], ids[at+7] = 7, 9
	}
}

// rateOf is the learning rate of a parameter: LoRA+ has those of lora_A, of embeddings, of lora_B, of vectors.
func rateOf(t *testing.T, lr any, name string) float64 {
	switch lr := lr.(type) {
	case float64:
		return lr
	case []any:
		if strings.Contains(name, "lora_B") {
			return lr[2].(float64)
		}
		return lr[0].(float64)
	}
	t.Fatalf("learning rate %v", lr)
	return 0
}

// initCase compares the starting values of the case's initialisation, and what they make of the base, with HF's. For pissa_niter_N, whose
// random numbers torch draws anew in every process, it returns the base that HF had changed and the adapter as plain LoRA.
func initCase(t *testing.T, dir, weights string, m *model.Model, env peft.Env) (*model.Model, string) {
	t.Helper()
	want := golden.Open(t, filepath.Join(dir, "expected.safetensors"))
	config := golden.JSON[map[string]any](t, filepath.Join(dir, "adapter", peft.ConfigFile))
	a, err := peft.New("LORA", config, nn.Sites(m), env)
	if err != nil {
		t.Fatal(err)
	}
	init := config["init_lora_weights"].(string)
	if init == "eva" {
		a = evaCase(t, weights, config, m, env)
	}
	values := map[string][]float32{}
	for _, p := range a.Params() {
		values[p.Key] = make([]float32, p.Size())
		p.Init(values[p.Key])
	}
	switch init {
	case "pissa", "olora", "loftq", "eva":
		for key, x := range values {
			if !want.Has("init_state." + key) {
				t.Errorf("%s is not HF's", key)
				continue
			}
			y := want.F32("init_state." + key)
			if init == "pissa" || init == "loftq" { // a singular vector's sign is free, the same in A and B
				x, y = magnitudes(x), magnitudes(y)
			}
			if d := golden.MaxDiff(x, y); len(x) != len(y) || d > 1e-4 {
				t.Errorf("%s starts at %d values that differ by %.2e from HF's %d", key, len(x), d, len(y))
			}
		}
	}
	replaced := map[string][]float32{}
	for _, n := range want.Names() {
		name, ok := strings.CutPrefix(n, "base.")
		if !ok {
			continue
		}
		replaced[name] = want.F32(n)
		if strings.HasPrefix(init, "pissa_niter_") {
			continue // other random numbers
		}
		if d := golden.MaxDiff(peft.ChangedBase(a, strings.TrimSuffix(name, ".weight")), want.F32(n)); d > 1e-5 {
			t.Errorf("%s is changed to values that differ by %.2e", name, d)
		}
	}
	if !strings.HasPrefix(init, "pissa_niter_") {
		return m, dir
	}
	if _, err := peft.Open(filepath.Join(dir, "adapter"), nn.Sites(m), env); err == nil ||
		!strings.Contains(err.Error(), "path_initial_model_for_weight_conversion") {
		t.Errorf("a folder of %s that HF cannot read again: %v", init, err)
	}
	to := t.TempDir()
	if err := m.Save(to, "", replaced); err != nil {
		t.Fatal(err)
	}
	if m, err = model.Load(to); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(t.TempDir(), "case")
	if err := os.CopyFS(plain, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	config["init_lora_weights"] = true
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(plain, "adapter", peft.ConfigFile), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return m, plain
}

func magnitudes(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(math.Abs(float64(v)))
	}
	return y
}

// taskOf is what the case's model is opened for.
func taskOf(meta goldenMeta) model.Task {
	if meta.Special["seq_cls"] == true {
		return model.Task{Type: "SEQ_CLS", NumLabels: 3}
	}
	return model.Task{}
}

// steps packs a batch. A row of the classifying case is of the class that its second token gives, and its padding is the token 0.
func steps(meta goldenMeta, ids, mask, labels []int64, rows, length int) (*nn.Step, []int) {
	if taskOf(meta).Type == "" {
		return nn.FromBatch(ids, mask, labels, rows, length)
	}
	var classes []int64
	at := make([]int, rows)
	for i := range rows {
		at[i] = i
		if labels != nil {
			classes = append(classes, ids[i*length+1]%3)
		}
	}
	return nn.FromClasses(ids, mask, classes, rows, length, 0), at
}

// evaCase initialises an adapter from the training batches, as the case's generator does, and compares ranks and scales.
func evaCase(t *testing.T, weights string, config map[string]any, m *model.Model, env peft.Env) *peft.Adapter {
	t.Helper()
	fresh := map[string]any{}
	for k, v := range config {
		fresh[k] = v
	}
	fresh["rank_pattern"], fresh["alpha_pattern"], fresh["target_modules"] = nil, nil, "all-linear"
	if config["eva_config"].(map[string]any)["whiten"] == true {
		fresh["target_modules"] = []string{"q_proj", "v_proj", "down_proj"}
	}
	a, err := peft.New("LORA", fresh, nn.Sites(m), env)
	if err != nil {
		t.Fatal(err)
	}
	in := golden.Open(t, filepath.Join(weights, "inputs.safetensors"))
	shape := in.Shape("train_input_ids")
	rows, length := shape[1], shape[2]
	var batches []peft.EvaBatch
	for i := range shape[0] {
		cut := func(name string) []int64 { return in.I64("train_" + name)[i*rows*length : (i+1)*rows*length] }
		s, at := nn.FromBatch(cut("input_ids"), cut("attention_mask"), nil, rows, length)
		b := peft.EvaBatch{Step: s, Keep: make([]bool, len(s.Tokens))}
		for t, k := range at {
			b.Keep[t] = cut("labels")[k] != -100
		}
		batches = append(batches, b)
	}
	if !a.NeedsData() {
		t.Error("a fresh adapter with eva needs no data")
	}
	if err := a.InitializeEVA(m, nil, batches, nil); err != nil {
		t.Fatal(err)
	}
	if a.NeedsData() {
		t.Error("an initialised adapter still needs data")
	}
	var got map[string]any
	if err := json.Unmarshal(a.ConfigJSON(), &got); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"rank_pattern", "alpha_pattern"} {
		x, _ := json.Marshal(got[k])
		y, _ := json.Marshal(config[k])
		if string(x) != string(y) {
			t.Errorf("%s is\n%s\nwant\n%s", k, x, y)
		}
	}
	return a
}
