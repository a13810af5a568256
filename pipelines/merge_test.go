package pipelines

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/adaptflow/adaptflow/internal/safetensors"
)

// TestMergeTied merges adapters into a model whose head shares the embedding's weight: where they make the two differ the merged model is no longer tied
// and holds both, in each dtype. Merge itself compares the logits.
func TestMergeTied(t *testing.T) {
	base, cases := filepath.Join("..", "model", "testdata", "models", "llama_tied"), filepath.Join("..", "peft", "testdata", "peft", "llama_tied")
	for name, tied := range map[string]bool{"lora_tied_embedding": false, "lora_untied_save": false, "lora_weight_tying": true, "lora_weight_tying_save": true,
		"lora_trainable_tokens_tied": true} {
		for dtype, stored := range map[string]string{"": "F32", "bfloat16": "BF16"} {
			to := filepath.Join(t.TempDir(), name)
			if err := Merge(base, filepath.Join(cases, name, "adapter"), to, dtype); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			raw, err := os.ReadFile(filepath.Join(to, "config.json"))
			if err != nil {
				t.Fatal(err)
			}
			var config struct {
				Tied bool `json:"tie_word_embeddings"`
			}
			if err := json.Unmarshal(raw, &config); err != nil {
				t.Fatal(err)
			}
			f, err := safetensors.OpenDir(to)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			head, has := f.Info("lm_head.weight")
			if config.Tied != tied || has == tied || has && head.DType != stored {
				t.Errorf("%s as %q: tie_word_embeddings is %v, lm_head.weight is there: %v, in %s", name, dtype, config.Tied, has, head.DType)
			}
		}
	}
}
