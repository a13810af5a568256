package peft

import (
	"fmt"

	"github.com/adaptflow/adaptflow/nn"
)

// Wanted says of which modules the merged tensors are wanted; nil wants all.
type Wanted func(module string) bool

func (w Wanted) has(module string) bool { return w == nil || w(module) }

// MergeStream merges an adapter module by module, so that what it changes is never in memory together. What it gives are the tensors of
// [Adapter.MergeShare].
type MergeStream struct {
	adapter *Adapter
	params  *nn.Params
	slot    int
	base    func(tensor string) ([]float32, error)
	weight  float64
	groups  []Wanted
	sizes   map[string]int // of the tensors
	group   map[string]int // of a tensor
	last    int            // the group whose tensors are at hand
	at      map[string][]float32
}

// MergeStream merges once to learn which tensors change, and keeps none of them. See [Adapter.MergeShare] for the arguments.
func (a *Adapter) MergeStream(params *nn.Params, slot int, base func(tensor string) ([]float32, error),
	weight float64) (*MergeStream, error) {
	s := &MergeStream{adapter: a, params: params, slot: slot, base: base, weight: weight, sizes: map[string]int{},
		group: map[string]int{}, last: -1}
	s.groups = mergeGroups(a.sites)
	for g := range s.groups {
		ts, err := s.merge(g)
		if err != nil {
			return nil, err
		}
		for name, v := range ts {
			s.sizes[name], s.group[name] = len(v), g
		}
	}
	return s, nil
}

// mergeGroups are the modules that are merged together: each site alone, but for the embedding and the head, which may share a weight; and
// what is not a site.
func mergeGroups(sites []nn.Site) []Wanted {
	embedding, head := embeddingAndHead(sites)
	known := map[string]bool{embedding: true, head: true}
	groups := []Wanted{func(m string) bool { return m == embedding || m == head }}
	for _, s := range sites {
		if !known[s.Name] {
			known[s.Name] = true
			groups = append(groups, func(m string) bool { return m == s.Name })
		}
	}
	return append(groups, func(m string) bool { return !known[m] })
}

func (s *MergeStream) merge(group int) (map[string][]float32, error) {
	return s.adapter.mergeShare(s.params, s.slot, s.base, s.weight, s.groups[group])
}

// Sizes are the numbers of values of the tensors that change, by their HF names.
func (s *MergeStream) Sizes() map[string]int { return s.sizes }

// Tensor is a tensor that changes. Those of the same module are merged together; a call may end the use of what an earlier one returned.
func (s *MergeStream) Tensor(name string) ([]float32, error) {
	g, ok := s.group[name]
	if !ok {
		return nil, fmt.Errorf("peft: the adapter does not change %q", name)
	}
	if g != s.last {
		s.at, s.last = nil, -1
		at, err := s.merge(g)
		if err != nil {
			return nil, err
		}
		s.at, s.last = at, g
	}
	return s.at[name], nil
}
