package peft

import (
	"fmt"

	"github.com/adaptflow/adaptflow/nn"
)

// Factors implements Factored. DoRA's update is not a product, and embeddings start with A zero, of which a frozen one would stay.
func (l *lora) Factors() ([]Factor, error) {
	var out []Factor
	for _, n := range l.names {
		p := l.pairs[n]
		switch {
		case p.tied != nil:
			return nil, fmt.Errorf("peft: LORA: ensure_weight_tying makes %s's pair the embedding's: leave both out of target_modules", n)
		case p.dora != nil:
			return nil, fmt.Errorf("peft: LORA: use_dora makes more of a weight than adding B·A to it: leave use_dora out")
		case p.kind == nn.KindEmbedding:
			return nil, fmt.Errorf("peft: LORA: the target %s is an embedding, whose A starts at zero: leave it out of target_modules", n)
		}
		out = append(out, Factor{A: p.a.Name, B: p.b.Name, Scale: p.scale})
	}
	return out, nil
}
