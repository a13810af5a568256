package model_test

import (
	"testing"

	"github.com/adaptflow/adaptflow/internal/pasted"
)

// TestContributing pastes CONTRIBUTING.md's example of a family: the file and the row build, and logits, loss, greedy tokens and gradients
// are those of transformers.
func TestContributing(t *testing.T) {
	pasted.Test(t, pasted.Example{Heading: "Adding a model family", File: "model/seed_oss.go",
		Lines: []pasted.Line{{File: "model/families.go", After: "var families = []family{",
			Line: `{architecture: "SeedOssForCausalLM", modelType: "seed_oss", open: openSeedOss, ignore: rotaryBuffer},`}},
		Folders: map[string]string{"model/testdata/pasted": "model/testdata/variants"},
		Package: "model", Run: "^TestVariants$|^TestFamiliesTrain$", Says: []string{"TestVariants/seed_oss", "TestFamiliesTrain/seed_oss"}})
}
