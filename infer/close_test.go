package infer

import (
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/train"
)

// fresh saves a new adapter over the model in dir.
func fresh(t *testing.T, dir, method string, config map[string]any) string {
	t.Helper()
	m, err := Load(dir, "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := train.OpenAdapter(m.Base, "", method, config, dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	params, err := a.NewParams(1)
	if err != nil {
		t.Fatal(err)
	}
	defer params.Free()
	to := filepath.Join(t.TempDir(), "adapter")
	if err := a.Save(to, params, 0, peft.Card{}); err != nil {
		t.Fatal(err)
	}
	return to
}

// freed waits for what the garbage collector frees, and gives the memory outside its heap that is held.
func freed(want int64) (held int64) {
	for range 50 {
		runtime.GC()
		if held = mem.Held(); held <= want {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return held
}

// TestCloseFreesAll: when a base and all models over it are closed none of its memory is held, however its weights are stored,
// whatever the adapters are, and whatever they were asked.
func TestCloseFreesAll(t *testing.T) {
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	dir, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	lora := map[string]any{"r": 4, "target_modules": "all-linear"}
	adapters := map[string]string{
		"base":   "",
		"LoRA":   fresh(t, dir, "LORA", lora),
		"PiSSA":  fresh(t, dir, "LORA", map[string]any{"r": 2, "target_modules": []string{"q_proj"}, "init_lora_weights": "pissa"}),
		"prompt": fresh(t, dir, "PROMPT_TUNING", map[string]any{"num_virtual_tokens": 3}),
	}
	kernels.FreeIdle()
	before := freed(0)
	for _, storage := range []string{"", "bfloat16", "float32+nf4", "bfloat16+int8", "float32@mapped", "float32@streamed",
		"float32@reread"} {
		for name, adapter := range adapters {
			if name == "PiSSA" && storage != "" || name == "prompt" && storage != "bfloat16" {
				continue // PiSSA is of floating-point weights in memory; each once is enough
			}
			b, err := Open(dir, storage, adapter)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				m, err := b.With(adapter)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := m.Generate("The city", evaluate.Sampling{MaxNewTokens: 2, RepetitionPenalty: 1, TopP: 1}, nil); err != nil {
					t.Fatal(err)
				}
				if err := m.Close(); err != nil {
					t.Fatal(err)
				}
				if err := m.Close(); err != nil {
					t.Errorf("closed twice: %v", err)
				}
			}
			if held := mem.Held() - before; held < b.Model.Bytes()*9/10 && storage != "float32@reread" {
				t.Errorf("%s as %q: the base is not in use and open, but %d of its %d bytes are held", name, storage, held, b.Model.Bytes())
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			if after := freed(before); after != before {
				t.Errorf("%s as %q: %d bytes are held when all is closed", name, storage, after-before)
			}
		}
	}
}

// TestBaseClosedFirst: a model answers after its base was given up, and the memory goes with the last of them.
func TestBaseClosedFirst(t *testing.T) {
	dir, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	adapter := fresh(t, dir, "LORA", map[string]any{"r": 2, "target_modules": []string{"q_proj"}})
	kernels.FreeIdle()
	before := freed(0)
	b, err := Open(dir, "bfloat16")
	if err != nil {
		t.Fatal(err)
	}
	one, err := b.With(adapter)
	if err != nil {
		t.Fatal(err)
	}
	several, err := b.WithNamed(Named{"a", adapter}, Named{"b", adapter})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*Model{one, several} {
		if _, err := m.Generate("The city", evaluate.Sampling{MaxNewTokens: 2, RepetitionPenalty: 1, TopP: 1}, nil); err != nil {
			t.Fatal(err)
		}
		if mem.Held()-before < b.Model.Bytes()*9/10 {
			t.Error("the base is freed while a model stands over it")
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if after := freed(before); after != before {
		t.Errorf("%d bytes are held when all is closed", after-before)
	}
	defer func() {
		if recover() == nil {
			t.Error("a closed base is used")
		}
	}()
	_, _ = b.With("")
}
