package peft

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/kernels"
)

// Combination says how LoRA adapters become one, with the names and defaults of HF PEFT's add_weighted_adapter.
type Combination struct {
	Type               string    // a name of [CombinationTypes]
	Weights            []float64 // one an adapter; may be negative
	SVDRank            int       // of the types that end in svd; 0 for the largest rank of the adapters
	SVDClamp           float64   // quantile to which the values of both matrices are cut, 0 for none
	Density            float64   // share of values that is kept, of all types but linear, cat and svd
	MajoritySignMethod string    // "total" (default) or "frequency", of ties
	Seed               uint64    // of dare's random choice
}

// sparsify is a row of the table of combinations: what is cut away of each task tensor before they are added, and whether signs are
// elected.
type sparsify struct {
	name      string
	magnitude bool // the smallest values
	random    bool // random ones, and what is left is scaled by 1/density
	elect     bool // values against the elected sign
	cat       bool
}

// combinations is the table of types. Each but cat also has a form "…_svd" (svd for linear), which works on the products B·A and factors
// the result again; the others work on A and B by themselves.
var combinations = []sparsify{
	{name: "linear"}, {name: "cat", cat: true},
	{name: "ties", magnitude: true, elect: true},   // Yadav et al. 2023, arXiv:2306.01708
	{name: "dare_linear", random: true},            // Yu et al. 2023, arXiv:2311.03099
	{name: "dare_ties", random: true, elect: true}, // both
	{name: "magnitude_prune", magnitude: true},     // the k largest values alone
}

// CombinationTypes are the names that Combination.Type may have.
func CombinationTypes() []string {
	var out []string
	for _, c := range combinations {
		out = append(out, c.name)
		switch {
		case c.cat:
		case c.name == "linear":
			out = append(out, "svd")
		default:
			out = append(out, c.name+"_svd")
		}
	}
	return out
}

// typeOf finds the row of a type and says whether it factors products.
func typeOf(name string) (row sparsify, svd bool, err error) {
	want := name
	if name == "svd" {
		want, svd = "linear", true
	} else if strings.HasSuffix(name, "_svd") {
		want, svd = strings.TrimSuffix(name, "_svd"), true
	}
	for _, c := range combinations {
		if c.name == want && slices.Contains(CombinationTypes(), name) {
			return c, svd, nil
		}
	}
	return row, false, fmt.Errorf("peft: combination_type %q; it must be one of %s", name, strings.Join(CombinationTypes(), ", "))
}

// fields is the adapter's configuration by HF's names.
func (a *Adapter) fields() map[string]any {
	var c map[string]any
	if err := json.Unmarshal(a.ConfigJSON(), &c); err != nil {
		panic(fmt.Sprintf("peft: a configuration that cannot be decoded: %v", err))
	}
	return c
}

// check refuses settings that no combination has, and fills in the default sign method.
func (c *Combination) check(row sparsify, adapters int) error {
	if adapters == 0 || adapters != len(c.Weights) {
		return fmt.Errorf("peft: %d adapters and %d weights; give one weight an adapter", adapters, len(c.Weights))
	}
	for i, w := range c.Weights {
		if !(math.Abs(w) <= math.MaxFloat32) {
			return fmt.Errorf("peft: the weight of adapter %d is %g; it must be a finite number", i+1, w)
		}
	}
	if adapters == 1 {
		row = combinations[0]
	}
	if c.MajoritySignMethod == "" {
		c.MajoritySignMethod = "total"
	}
	if c.MajoritySignMethod != "total" && c.MajoritySignMethod != "frequency" {
		return fmt.Errorf("peft: majority_sign_method %q; it must be total or frequency", c.MajoritySignMethod)
	}
	if (row.magnitude || row.random) && !(c.Density > 0 && c.Density <= 1) {
		return fmt.Errorf("peft: density %g; %s needs one above 0 and at most 1, the share of values that is kept", c.Density, c.Type)
	}
	if !(c.SVDClamp >= 0 && c.SVDClamp <= 1) {
		return fmt.Errorf("peft: svd_clamp %g; it is a quantile between 0 and 1", c.SVDClamp)
	}
	return nil
}

// Combine makes one LoRA adapter of several that were opened from folders, as HF PEFT's add_weighted_adapter does: its rank is theirs (or
// their sum for cat, or svd_rank), lora_alpha equals the rank, its targets are all of theirs. The result has the values as an opened
// adapter has.
func Combine(adapters []*Adapter, c Combination) (*Adapter, error) {
	row, svd, err := typeOf(c.Type)
	if err != nil {
		return nil, err
	}
	if err := c.check(row, len(adapters)); err != nil {
		return nil, err
	}
	if len(adapters) == 1 {
		row, svd = combinations[0], false
	}
	for _, a := range adapters {
		if _, ok := a.Method.(*lora); !ok {
			return nil, fmt.Errorf("peft: a %s adapter cannot be combined; only LORA adapters can", a.Type())
		}
		if a.loaded == nil {
			return nil, fmt.Errorf("peft: Combine needs adapters that were opened from folders")
		}
	}
	config, rank, err := combinedConfig(adapters, row, svd, c)
	if err != nil {
		return nil, err
	}
	out, err := build("LORA", encode(config, ""), adapters[0].sites, adapters[0].env, nil)
	if err != nil {
		return nil, err
	}
	for _, a := range adapters { // over one base, which has the same embeddings for all
		for _, z := range a.kept {
			if !slices.ContainsFunc(out.kept, func(o Frozen) bool { return o.Key == z.Key }) {
				out.kept = append(out.kept, z)
			}
		}
	}
	out.loaded = map[string][]float32{}
	for _, name := range out.Method.(*lora).names {
		if err := out.combinePair(name, adapters, c, row, svd, rank); err != nil {
			return nil, err
		}
	}
	for _, p := range out.Params() {
		v, ok := out.loaded[p.Name]
		if !ok { // modules_to_save of the one adapter that has it
			for _, a := range adapters {
				if w := a.loaded[p.Name]; w != nil {
					v = w
				}
			}
			if v == nil {
				return nil, fmt.Errorf("peft: nothing to combine for %s", p.Key)
			}
			out.loaded[p.Name] = v
		}
		p.Init = func(d []float32) { copy(d, v) }
	}
	return out, nil
}

// combinePair sets the combination's pair of a module from theirs.
func (a *Adapter) combinePair(name string, adapters []*Adapter, c Combination, row sparsify, svd bool, rank int) error {
	p := a.Method.(*lora).pairs[name]
	if p.tied != nil {
		return fmt.Errorf("peft: combining adapters whose head shares the embedding's pair (ensure_weight_tying) is not supported: " +
			"merge them, or keep them side by side")
	}
	var ts []term
	for i, from := range adapters {
		if q := from.Method.(*lora).pairs[name]; q != nil {
			ts = append(ts, term{index: i, rows: q.b.Rows, cols: q.a.Cols, r: q.r, a: from.loaded[q.a.Name], b: from.loaded[q.b.Name],
				weight: c.Weights[i], scale: q.scale})
		}
	}
	va, vb, err := c.combine(row, svd, ts, rank, name)
	if err != nil {
		return err
	}
	if kernels.NonFinite(va) >= 0 || kernels.NonFinite(vb) >= 0 {
		return fmt.Errorf("peft: combining with the weights %v makes the values of %s not finite: take smaller ones", c.Weights, name)
	}
	a.loaded[p.a.Name], a.loaded[p.b.Name] = va, vb
	return nil
}

// combinedConfig is the first adapter's configuration with the new rank and targets.
func combinedConfig(adapters []*Adapter, row sparsify, svd bool, c Combination) (map[string]any, int, error) {
	config := adapters[0].fields()
	rank, sum, same := 0, 0, true
	var patterns []string
	targets := map[string]bool{}
	saved := map[string]int{}
	for i, a := range adapters {
		f := a.fields()
		for _, k := range []string{"use_dora", "lora_bias", "target_parameters", "alora_invocation_tokens", "layer_replication",
			"trainable_token_indices"} {
			if v, ok := f[k]; ok && !empty(v) {
				return nil, 0, fmt.Errorf("peft: adapter %d has %s, which a combination would lose; merge it into a copy of the base "+
					"instead", i+1, k)
			}
		}
		if b, _ := f["bias"].(string); b != "none" && len(adapters) > 1 {
			return nil, 0, fmt.Errorf("peft: adapter %d trains biases (bias: %q), which cannot be combined", i+1, b)
		}
		r := 0
		for _, p := range a.Method.(*lora).pairs {
			r = max(r, p.r)
		}
		l := a.Method.(*lora)
		if len(l.cfg.RankPattern) == 0 || l.cfg.R > r {
			r = l.cfg.R
		}
		same = same && (i == 0 || r == rank)
		rank, sum = max(rank, r), sum+r
		switch t := f["target_modules"].(type) {
		case string:
			patterns = append(patterns, "("+t+")")
		case []any:
			for _, n := range t {
				targets[fmt.Sprint(n)] = true
			}
		}
		for _, m := range l.cfg.ModulesToSave {
			if saved[m]++; saved[m] > 1 {
				return nil, 0, fmt.Errorf("peft: several of the adapters have %s in modules_to_save; trained modules cannot be combined", m)
			}
		}
	}
	if len(patterns) > 0 && len(targets) > 0 {
		return nil, 0, fmt.Errorf("peft: some adapters have a list in target_modules and others a pattern; give all the same form")
	}
	switch {
	case svd:
		if c.SVDRank > 0 {
			rank = c.SVDRank
		}
	case row.cat:
		rank = sum
	case !same:
		return nil, 0, fmt.Errorf("peft: %s needs adapters of the same rank r; use cat, svd or another type that ends in svd", c.Type)
	}
	config["r"], config["lora_alpha"] = rank, rank
	config["rank_pattern"], config["alpha_pattern"], config["use_rslora"] = map[string]any{}, map[string]any{}, false
	config["init_lora_weights"] = true
	if len(patterns) > 0 {
		config["target_modules"] = strings.Join(patterns, "|")
	} else {
		config["target_modules"] = sortedKeys(targets)
	}
	config["modules_to_save"] = nil
	if len(saved) > 0 {
		config["modules_to_save"] = sortedKeys(saved)
	}
	return config, rank, nil
}
