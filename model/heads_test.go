package model_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

type classifierCase struct {
	Architecture string    `json:"architecture"`
	Score        []float32 `json:"score"`
	Logits       []float32 `json:"logits"`
}

// TestGoldenClassifiers compares the logits of every family with a head of classes with transformers': opened from the language model, with
// the head written, and opened again.
func TestGoldenClassifiers(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "classifiers", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		t.Run(name, func(t *testing.T) {
			want := golden.JSON[classifierCase](t, f)
			dir := filepath.Join("testdata", "models", name)
			m, err := model.LoadTask(dir, "float32", model.Task{Type: "SEQ_CLS", NumLabels: 3, Seed: 5})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			to := t.TempDir()
			if err := m.Save(to, "", map[string][]float32{"score.weight": want.Score}); err != nil {
				t.Fatal(err)
			}
			c, err := model.Load(to)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.Config.Architecture != want.Architecture || c.Config.NumLabels != 3 || c.Config.Outputs() != 3 {
				t.Errorf("opened again as %s with %d classes, want %s with 3", c.Config.Architecture, c.Config.NumLabels, want.Architecture)
			}
			b := golden.Open(t, filepath.Join(dir, "inputs.safetensors")).Batch("")
			b.IDs[len(b.IDs)-1] = 0 // a token that pooling takes for padding
			s := nn.FromClasses(b.IDs, b.Mask, nil, b.B, b.T, 0)
			got := compile(t, c, nn.ModeLogits, s, 0).Forward(s, false)
			if d := golden.MaxDiff(got, want.Logits); d > 2e-4 {
				t.Errorf("logits differ by %g", d)
			}
			if _, err := model.LoadTask(to, "float32", model.Task{Type: "CAUSAL_LM"}); err == nil {
				t.Error("a classifier was opened as a language model")
			}
		})
	}
	t.Logf("golden classifiers: %d cases ran", len(files))
}

// TestFreshHead opens a language model as a classifier: the head is a function of the seed, and of transformers' distribution.
func TestFreshHead(t *testing.T) {
	dir := filepath.Join("testdata", "models", "llama_gqa")
	head := func(seed uint64) []float32 {
		m, err := model.LoadTask(dir, "float32", model.Task{Type: "SEQ_CLS", NumLabels: 77, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		x, err := m.Tensor("score.weight")
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	a, b, c := head(1), head(1), head(2)
	if !slices.Equal(a, b) || slices.Equal(a, c) {
		t.Error("the head is not a function of the seed")
	}
	sum := 0.0
	for _, v := range a {
		sum += float64(v) * float64(v)
	}
	if sd := sum / float64(len(a)) / (0.02 * 0.02); sd < 0.9 || sd > 1.1 {
		t.Errorf("the head's variance is %g times initializer_range squared", sd)
	}
	for _, c := range []struct {
		task model.Task
		word string
	}{{model.Task{Type: "SEQ_CLS"}, "num_labels"}, {model.Task{Type: "TOKEN_CLS"}, "TOKEN_CLS"}, {model.Task{NumLabels: 4}, "num_labels"},
		{model.Task{Type: "SEQ_CLS", NumLabels: -1}, "at least 1"}} {
		if _, err := model.LoadTask(dir, "float32", c.task); err == nil || !strings.Contains(err.Error(), c.word) {
			t.Errorf("task %+v: %v", c.task, err)
		}
	}
}
