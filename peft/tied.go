package peft

import (
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/nn"
)

// untier is a method that may train one of two modules that share a weight, the embedding and the head (tie_word_embeddings), or both
// apart.
type untier interface {
	// unties says whether the two differ once merged.
	unties() bool
}

// embeddingAndHead are the names of the input embedding and of the head; either may be empty.
func embeddingAndHead(sites []nn.Site) (embedding, head string) {
	for _, s := range sites {
		switch {
		case s.Kind == nn.KindHead:
			head = s.Name
		case embedding == "" && embedsTokens(s):
			embedding = s.Name
		}
	}
	return embedding, head
}

// mergeTied merges into a base whose head shares the embedding's weight, which base (of stored) gives for both. Where the adapter makes the
// two differ the result has both, so that the merged model's are no longer tied: HF PEFT does so with modules_to_save, and sets
// tie_word_embeddings to false. Its LoRA on one of the two changes the shared weight, with which the merged model computes something else
// than base and adapter.
func (a *Adapter) mergeTied(m Merger, value func(string) []float32, base func(string) ([]float32, error),
	want Wanted) (map[string][]float32, error) {
	embedding, head := embeddingAndHead(a.sites)
	out, err := m.Merge(value, base, want)
	if err != nil {
		return nil, err
	}
	if u, ok := m.(untier); ok && u.unties() && want.has(embedding) {
		for _, name := range []string{embedding + ".weight", head + ".weight"} {
			if out[name] != nil {
				continue
			}
			w, err := base(name)
			if err != nil {
				return nil, fmt.Errorf("peft: merging %s: %w", name, err)
			}
			out[name] = slices.Clone(w)
		}
	}
	return out, nil
}

// unties implements untier.
func (x *extras) unties() bool {
	var weights, rows []*Param
	for _, name := range sortedKeys(x.at) {
		if t := x.at[name]; t.layout.Vocab {
			if t.weight != nil {
				weights = append(weights, t.weight)
			}
			if t.rows != nil {
				rows = append(rows, t.rows)
			}
		}
	}
	apart := func(ps []*Param) bool { return len(ps) == 1 || len(ps) == 2 && ps[0] != ps[1] }
	return apart(weights) || apart(rows)
}
