package peft

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/adaptflow/adaptflow/nn"
)

// layer_replication runs blocks of the base several times, each copy with LoRA pairs of its own (SOLAR's depth up-scaling without more
// weights): [[0, 4], [2, 5]] runs the blocks 0 1 2 3 2 3 4.

// Layers implements nn.Replicator.
func (l *lora) Layers(int) []int {
	var out []int
	for _, r := range l.cfg.LayerReplication {
		for i := r[0]; i < r[1]; i++ {
			out = append(out, i)
		}
	}
	return out
}

// layerPrefix is the name under which HF finds the blocks to replicate.
const layerPrefix = "model.layers."

// replicated gives the sites of the model whose blocks run in the order of the configuration.
func (l *lora) replicated(sites []nn.Site) ([]nn.Site, error) {
	if len(l.cfg.LayerReplication) == 0 {
		return sites, nil
	}
	blocks := map[int][]nn.Site{}
	first, end := -1, -1
	for i, s := range sites {
		if s.Layer < 0 {
			continue
		}
		if !strings.HasPrefix(s.Name, layerPrefix) {
			return nil, fmt.Errorf("peft: LORA: layer_replication is for models whose blocks are called %s0 and so on, as Llama's; here "+
				"is %s", layerPrefix, s.Name)
		}
		if first < 0 {
			first = i
		}
		end = i + 1
		blocks[s.Layer] = append(blocks[s.Layer], s)
	}
	// Each copy has parameters, steps and memory of its own; depth up-scaling doubles a model.
	total, most := 0, min(max(64, 16*len(blocks)), 4096)
	for _, r := range l.cfg.LayerReplication {
		if r[0] < 0 || r[1] > len(blocks) || r[0] >= r[1] {
			return nil, fmt.Errorf("peft: LORA: layer_replication: [%d, %d] is not a range of the model's %d blocks; the first counts "+
				"from 0, the last is not included",
				r[0], r[1], len(blocks))
		}
		if total += r[1] - r[0]; total > most {
			return nil, fmt.Errorf("peft: LORA: layer_replication: its %d ranges run more than %d blocks, and the model has %d: that is "+
				"out of proportion", len(l.cfg.LayerReplication),
				most, len(blocks))
		}
	}
	out := append([]nn.Site(nil), sites[:first]...)
	for k, from := range l.Layers(len(blocks)) {
		old, now := layerPrefix+strconv.Itoa(from), layerPrefix+strconv.Itoa(k)
		for _, s := range blocks[from] {
			s.Name, s.Layer = now+strings.TrimPrefix(s.Name, old), k
			out = append(out, s)
		}
	}
	return append(out, sites[end:]...), nil
}
