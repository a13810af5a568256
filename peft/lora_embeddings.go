package peft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/nn"
)

// attachTokens adds the rows of trainable_token_indices.
func (l *lora) attachTokens(sites []nn.Site, env Env) error {
	t := l.cfg.TrainableTokenIndices
	if !t.Set() {
		return nil
	}
	params, err := attachRows(l.extra, t, ".token_adapter.trainable_tokens_delta", sites, env.Tied, currentRows)
	if err != nil {
		return err
	}
	for name, x := range l.extra.at {
		if x.rows != nil && l.isTarget(name) {
			return fmt.Errorf("peft: LORA: %s is in target_modules and in trainable_token_indices; use one of them", name)
		}
	}
	l.params = append(l.params, params...)
	return nil
}

// attachFrozen lists the base embeddings that HF saves beside adapted ones: when target_modules names embed_tokens or
// lm_head (or, as a pattern, matches them) and no trainable tokens are used.
func (l *lora) attachFrozen(sites []nn.Site) {
	c := &l.cfg
	if c.TrainableTokenIndices.Set() {
		return
	}
	named := false
	for _, e := range []string{"embed_tokens", "lm_head"} {
		named = named || slices.Contains(c.TargetModules.List, e)
		if c.TargetModules.Pattern != "" {
			for _, n := range l.names {
				named = named || n == e || strings.HasSuffix(n, "."+e)
			}
		}
	}
	if !named {
		return
	}
	for _, s := range weighted(sites) {
		lay, _ := layoutOf(s.Op)
		if !l.isTarget(s.Name) || !lay.Vocab {
			continue
		}
		l.frozen = append(l.frozen, Frozen{Key: prefix + s.Name + ".base_layer.weight", Shape: lay.Shape(), Values: lay.Dense})
		if lay.Bias != nil && l.extra.at[s.Name].bias == nil {
			l.frozen = append(l.frozen, Frozen{Key: prefix + s.Name + ".base_layer.bias", Shape: []int{len(lay.Bias)},
				Values: lay.biasValues})
		}
	}
}
