package pipelines

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/transforms/perkey"
)

// inspectKey describes the adapter folder of a key, whatever version named it.
func inspectKey(path string) ([]Fact, error) {
	r, err := perkey.ReadResult(path)
	if err != nil {
		return nil, err
	}
	files, err := peft.TensorPaths(path)
	if err != nil {
		return nil, err
	}
	tensors, err := inspectTensors(files)
	facts := []Fact{{"adapter", path}, {"of the key", r.Key}, {"sequences", r.Sequences}, {"steps", r.Steps}, {"tokens", r.Tokens}}
	if r.EvalTokens > 0 {
		facts = append(facts, Fact{"held-out perplexity", beforeAfter(math.Exp(r.Before), math.Exp(r.After))})
	}
	return append(facts, tensors...), err
}

// inspectKeys describes a finished run by key: which folder is whose.
func inspectKeys(path string) ([]Fact, error) {
	raw, err := storage.ReadFile(filepath.Join(path, KeysFile))
	if err != nil {
		return nil, err
	}
	var k KeyRuns
	if err := json.Unmarshal(raw, &k); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(path, KeysFile), err)
	}
	facts := []Fact{{"finished run by key", path}, {"keys", len(k.Keys)}, {"trained", k.Trained}, {"tokens", k.Tokens}}
	for _, x := range k.Keys {
		to := x.Skipped
		if to == "" {
			to = filepath.Join(AdapterDir+"s", x.Dir)
		}
		facts = append(facts, Fact{fmt.Sprintf("key %q", x.Key), to})
	}
	return facts, nil
}
