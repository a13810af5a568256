package inspect

import (
	"math"

	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/transforms/perkey"
)

// inspectKey describes the adapter folder of a key, whatever version named it.
func inspectKey(path string) ([]report.Fact, error) {
	r, err := perkey.ReadResult(path)
	if err != nil {
		return nil, err
	}
	files, err := peft.TensorPaths(path)
	if err != nil {
		return nil, err
	}
	tensors, err := inspectTensors(files)
	facts := report.Facts("adapter", path, "of the key", r.Key, "sequences", r.Sequences, "steps", r.Steps, "tokens", r.Tokens)
	if r.EvalTokens > 0 {
		facts = append(facts, report.NewFact("held-out perplexity", report.BeforeAfter(math.Exp(r.Before), math.Exp(r.After))))
	}
	return append(facts, tensors...), err
}
