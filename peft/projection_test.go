package peft_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// TestGoldenProjections makes the frozen random tensors of HF's folders anew, from the seed in their configuration.
func TestGoldenProjections(t *testing.T) {
	root := golden.Root(t, "testdata")
	ran := 0
	for _, dir := range golden.Dirs(t, filepath.Join(root, "peft", "llama_gqa")) {
		dir = filepath.Join(root, "peft", "llama_gqa", dir, "adapter")
		config := golden.JSON[map[string]any](t, filepath.Join(dir, peft.ConfigFile))
		if _, ok := config["save_projection"]; !ok {
			continue
		}
		m := base(t, "llama_gqa")
		a, err := peft.New(config["peft_type"].(string), config, nn.Sites(m), peft.Env{ModelType: "llama"})
		if err != nil {
			t.Fatal(err)
		}
		want := golden.Open(t, filepath.Join(dir, peft.TensorFile))
		for _, z := range a.Frozen() {
			if strings.Contains(z.Key, "tinylora_A") || strings.Contains(z.Key, "tinylora_B") {
				continue // of the weight, not of a seed
			}
			got, ref := z.Values(), want.F32(z.Key)
			d := golden.MaxDiff(got, ref)
			// Normal numbers agree to the last place of torch's logarithm and cosine.
			if tol := map[bool]float64{true: 2e-6}[strings.Contains(z.Key, "tinylora_P")]; d > tol ||
				!slices.Equal(z.Shape, want.Shape(z.Key)) {
				t.Errorf("%s: %s differs by %g", dir, z.Key, d)
			}
			ran++
		}
	}
	t.Logf("golden projections: %d tensors", ran)
}
