package peft

import (
	"math"
	"slices"
	"sort"
)

// evaRanks gives the budget to the directions that explain most, of modules with one input to the first at least as much as to the others.
func evaRanks(names []string, leader map[string]string, layers map[string]*evaLayer, budget int) map[string]int {
	type value struct {
		name  string
		ratio float32
	}
	var vs []value
	// HF's order: the modules with a decomposition of their own, then those that share one.
	order := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return leader[n] != n })
	var shared []string
	for _, n := range names {
		if leader[n] != n {
			shared = append(shared, n)
		}
	}
	for _, n := range append(order, shared...) {
		for _, r := range layers[leader[n]].pca.ratio {
			vs = append(vs, value{n, float32(r)})
		}
	}
	sort.SliceStable(vs, func(i, j int) bool { return vs[i].ratio > vs[j].ratio })
	counts := map[string]int{}
	for _, v := range vs[:min(budget, len(vs))] {
		counts[v.name]++
	}
	for _, n := range shared {
		if lead := leader[n]; counts[lead] < counts[n] {
			counts[lead], counts[n] = counts[n], counts[lead]
		}
	}
	return counts
}

// eva rebuilds the method with the new ranks and puts the directions into A.
func (a *Adapter) eva(old *lora, names []string, leader map[string]string, layers map[string]*evaLayer, rank map[string]int) error {
	l := newLora().(*lora)
	l.cfg = old.cfg
	c := &l.cfg
	c.RankPattern, c.AlphaPattern, c.TargetModules = Patterns{}, Patterns{}, Names{List: []string{}}
	for _, n := range old.names {
		p := old.pairs[n]
		r, alpha := p.r, p.alpha
		if leader[n] != "" {
			if r = rank[n]; r == 0 {
				continue // the module is no longer adapted
			}
			if r != p.r && c.EvaConfig.AdjustScalingFactors {
				alpha *= float64(r) / float64(p.r)
			}
		}
		c.TargetModules.List = append(c.TargetModules.List, n)
		if r != c.R {
			c.RankPattern = append(c.RankPattern, Pattern{Key: n, Value: float64(r)})
		}
		if alpha != c.LoraAlpha {
			c.AlphaPattern = append(c.AlphaPattern, Pattern{Key: n, Value: alpha})
		}
	}
	if err := l.Attach(a.sites, a.env); err != nil {
		return err
	}
	for _, n := range l.names {
		if leader[n] == "" {
			continue
		}
		p, pca := l.pairs[n], layers[leader[n]].pca
		start := make([]float32, p.a.Size())
		for k := range p.r {
			f := 1.0
			if c.EvaConfig.Whiten { // in place in HF: once for every module that shares these directions
				for _, other := range l.names {
					if leader[other] == leader[n] && rank[other] > k {
						f /= math.Sqrt(pca.singular[k])
					}
				}
			}
			for j := range p.a.Cols {
				start[k*p.a.Cols+j] = float32(pca.components.At(k, j) * f)
			}
		}
		p.a.Init = func(d []float32) { copy(d, start) }
	}
	l.ready = true
	a.Method = l
	return nil
}
