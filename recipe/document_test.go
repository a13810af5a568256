package recipe

import (
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/page"
)

// TestDocument compares the page with what the settings say: run `go generate ./recipe` where it differs.
func TestDocument(t *testing.T) {
	page.Current(t, "../docs/recipe.md", "go generate ./recipe", Document())
}

// TestKeys: every key has its help, in a line, and its path is there once, but for fields that differ from method to method.
func TestKeys(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range AllKeys() {
		if k.Help == "" || strings.Contains(k.Help, "\n") || strings.HasSuffix(k.Help, ".") || k.Type == "" {
			t.Errorf("%s: %q is not help of one line: write it into the field's tag, or the table of helps", k.Path, k.Help)
		}
		if seen[k.Path] && !strings.HasPrefix(k.Path, "method.") {
			t.Errorf("%s is there twice", k.Path)
		}
		seen[k.Path] = true
	}
	for _, path := range []string{"train.learning_rate", "data.sources.NAME.weight", "prepare.clean.gopher_quality.min_doc_words",
		"prepare.dedupe.minhash.index_folder", "method.lora_alpha",
		"train.optim_args.sgd.momentum", "train.lr_scheduler_kwargs.cosine.num_cycles", "train.compression_args.topk.density"} {
		if !seen[path] {
			t.Errorf("%s is not there", path)
		}
	}
	for pattern, want := range map[string]string{"learning_rate": "train.learning_rate train.outer_learning_rate compare.learning_rates",
		"train.warmup_*": "train.warmup_steps train.warmup_ratio", "*.seed": "train.seed", "nothing": ""} {
		keys, err := Matching(pattern)
		var got []string
		for _, k := range keys {
			got = append(got, k.Path)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q %v, want %q", pattern, got, err, want)
		}
	}
	if _, err := Matching("train.[a"); err == nil {
		t.Error("a pattern left open is taken")
	}
}
