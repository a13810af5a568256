package infer

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/train"
)

// TestMergedStops: what a merged model generates ends where it does with base and adapter, at the tokenizer's eos_token too,
// which the adapter has learnt: the file that names the tokens for transformers' generate names it. A model that ends there
// already keeps its files.
func TestMergedStops(t *testing.T) {
	embedded, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		config     int
		generation string // "" for no file
		want       []int32
	}{
		{"config.json", 5, "", []int32{5, 0}},
		{"generation_config.json", 5, `{"eos_token_id": [3, 7], "temperature": 0.5}`, []int32{3, 7, 0}},
		{"generation_config.json without eos_token_id", 5, `{"temperature": 0.5}`, []int32{5, 0}},
		{"the same", 0, `{"eos_token_id": [0, 3]}`, []int32{0, 3}},
		{"the same in config.json", 0, "", []int32{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			base, adapter, to := filepath.Join(dir, "base"), filepath.Join(dir, "adapter"), filepath.Join(dir, "merged")
			if err := os.CopyFS(base, os.DirFS(embedded)); err != nil {
				t.Fatal(err)
			}
			config := golden.JSON[map[string]any](t, filepath.Join(base, "config.json"))
			config["eos_token_id"] = c.config
			raw, err := json.Marshal(config)
			if err != nil {
				t.Fatal(err)
			}
			generation := filepath.Join(base, "generation_config.json")
			if err := os.Remove(generation); err != nil {
				t.Fatal(err)
			}
			for path, text := range map[string]string{filepath.Join(base, "config.json"): string(raw), generation: c.generation} {
				if text != "" {
					if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			saveFresh(t, base, adapter)

			stops := func(model, adapter string) []int32 {
				m, err := Load(model, "", adapter)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				stop, err := m.Stops()
				if err != nil {
					t.Fatal(err)
				}
				return stop
			}
			if got := stops(base, adapter); !slices.Equal(got, c.want) {
				t.Fatalf("base and adapter end at %v, want %v", got, c.want)
			}
			if err := Merge(base, adapter, to, "", 1); err != nil {
				t.Fatal(err)
			}
			if got := stops(to, ""); !slices.Equal(got, c.want) {
				t.Errorf("the merged model ends at %v, want %v", got, c.want)
			}
			merged, err := os.ReadFile(filepath.Join(to, "generation_config.json"))
			if (err == nil) != (c.generation != "") {
				t.Errorf("generation_config.json: %v", err)
			}
			mergedConfig := golden.JSON[map[string]any](t, filepath.Join(to, "config.json"))
			switch {
			case strings.HasPrefix(c.name, "the same"):
				if string(merged) != c.generation || mergedConfig["eos_token_id"] != 0.0 {
					t.Errorf("the files are other ones: %s, %v", merged, mergedConfig["eos_token_id"])
				}
			case c.generation != "":
				was, is := map[string]any{}, map[string]any{}
				if json.Unmarshal([]byte(c.generation), &was) != nil || json.Unmarshal(merged, &is) != nil {
					t.Fatalf("%s", merged)
				}
				delete(was, "eos_token_id")
				delete(is, "eos_token_id")
				if !maps.Equal(was, is) || mergedConfig["eos_token_id"] != 5.0 {
					t.Errorf("more is changed: %s, %v", merged, mergedConfig["eos_token_id"])
				}
			}
		})
	}
}

// saveFresh saves a new LoRA adapter of a base model.
func saveFresh(t *testing.T, base, to string) {
	t.Helper()
	m, err := Load(base, "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := train.OpenAdapter(m.Base, "", "LORA", map[string]any{"r": 2, "target_modules": []string{"q_proj"}}, base, 1)
	if err != nil {
		t.Fatal(err)
	}
	params, err := a.NewParams(1)
	if err != nil {
		t.Fatal(err)
	}
	defer params.Free()
	if err := a.Save(to, params, 0, peft.Card{}); err != nil {
		t.Fatal(err)
	}
}
