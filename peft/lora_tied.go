package peft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/nn"
)

// With ensure_weight_tying what LoRA trains of an embedding, the head that is tied to it has too (HF PEFT 0.21). In modules_to_save both
// use one weight. As targets they share a pair: the head's ΔW = B·A [V, D] is the embedding's with A = B_eᵀ and B = A_eᵀ, so that a merged
// model stays tied.
//
// HF PEFT 0.21.2 makes the head's A and B parameters of their own over the same memory. Its optimiser then moves the shared values twice a
// step, by each one's gradient apart, and its merge adds ΔW to the shared weight twice. Here they are one parameter, whose gradient is the
// sum, and ΔW is merged once.

// embeddingLayers are the names that HF takes for the ends of embeddings and heads.
var embeddingLayers = []string{"embed_tokens", "lm_head"}

// tie is the embedding and the head that ensure_weight_tying ties, and what for.
type tie struct {
	embedding, head string
	save            bool // as modules_to_save, else as targets
}

// weightTying applies ensure_weight_tying to the configuration: the embedding takes the head's place in modules_to_save or target_modules,
// as HF does it. Nil without it, without a tied head, and where neither is named.
func (c *LoraConfig) weightTying(sites []nn.Site, tied bool) (*tie, error) {
	embedding, head := embeddingAndHead(sites)
	if !c.EnsureWeightTying || !tied || embedding == "" || head == "" {
		return nil, nil
	}
	if by := c.TrainableTokenIndices.ByModule; len(by) > 1 {
		var first []int
		for i, name := range sortedKeys(by) {
			if i > 0 && !slices.Equal(by[name], first) {
				return nil, fmt.Errorf("peft: LORA: ensure_weight_tying: trainable_token_indices has other tokens for the embedding than " +
					"for the head that is tied to it; give the same")
			}
			first = by[name]
		}
	}
	ends := func(name string) bool {
		return slices.Contains(embeddingLayers, name[strings.LastIndexByte(name, '.')+1:])
	}
	replace := func(list []string) []string {
		list = slices.Clone(list)
		if !slices.Contains(list, embedding) {
			list = append(list, embedding)
		}
		if i := slices.IndexFunc(list, func(n string) bool { return n == head || strings.HasSuffix(head, "."+n) }); i >= 0 {
			list = slices.Delete(list, i, i+1)
		}
		return list
	}
	if slices.ContainsFunc(c.ModulesToSave, ends) {
		c.ModulesToSave = replace(c.ModulesToSave)
		return &tie{embedding, head, true}, nil
	}
	switch t := &c.TargetModules; {
	case t.Pattern != "":
		re, err := compilePy("target_modules", t.Pattern, fullMatch)
		if err != nil {
			return nil, err
		}
		named := false
		for _, n := range embeddingLayers {
			ok, err := re.match(n)
			if err != nil {
				return nil, err
			}
			named = named || ok
		}
		if !named {
			return nil, nil
		}
		if at := "|^" + strings.ReplaceAll(embedding, ".", `\.`) + "$)"; !strings.HasSuffix(t.Pattern, at) {
			t.Pattern = "(?:" + t.Pattern + at
		}
	case slices.ContainsFunc(t.List, ends):
		t.List = replace(t.List)
	default:
		return nil, nil
	}
	switch plain := c.InitLoraWeights.Name == "" || strings.EqualFold(c.InitLoraWeights.Name, "gaussian"); {
	case c.UseDora:
		return nil, fmt.Errorf("peft: LORA: ensure_weight_tying does not go with use_dora, whose magnitudes of the head and of the " +
			"embedding differ; leave one of them out")
	case !plain:
		return nil, fmt.Errorf("peft: LORA: ensure_weight_tying with the embedding as a target goes with init_lora_weights true, false "+
			"or \"gaussian\", not %q", c.InitLoraWeights.Name)
	}
	return &tie{embedding: embedding, head: head}, nil
}

// tieTarget makes the head's pair of the embedding's, which is attached.
func (l *lora) tieTarget(head nn.Site) error {
	e := l.pairs[l.tying.embedding]
	c := &l.cfg
	r, err := pattern("rank_pattern", c.RankPattern, head.Name, float64(c.R))
	if err != nil {
		return err
	}
	alpha, err := pattern("alpha_pattern", c.AlphaPattern, head.Name, c.LoraAlpha)
	if err != nil {
		return err
	}
	switch {
	case int(r) != e.r || alpha != e.alpha:
		return fmt.Errorf("peft: LORA: ensure_weight_tying: rank_pattern and alpha_pattern give %s and %s, which share a pair, different "+
			"values", e.name, head.Name)
	case c.LoraDropout > 0:
		return noHeadDropout(c, head.Name)
	}
	// HF starts the head's A, which is the embedding's B, last.
	d := e.b.Rows
	switch {
	case l.init != nil:
		e.b.Init = normal(l.seed, e.b.Name, 1/float64(e.r))
	case c.InitLoraWeights.On:
		e.b.Init = uniform(l.seed, e.b.Name, d)
	}
	p := &pair{name: head.Name, kind: nn.KindHead, vocab: true, r: e.r, alpha: e.alpha, scale: e.scale, tied: e}
	l.pairs[head.Name] = p
	l.names = append(l.names, head.Name)
	l.extra.site(head).pair = p
	return nil
}

// tieSaved makes the head use the weight of modules_to_save that the embedding has.
func (l *lora) tieSaved(sites []nn.Site) {
	e := l.extra.at[l.tying.embedding]
	for _, s := range weighted(sites) {
		if s.Name == l.tying.head && e != nil && e.weight != nil {
			e.weight.Also = append(e.weight.Also, prefix+s.Name+".weight")
			h := l.extra.site(s)
			h.weight, h.shared = e.weight, true
		}
	}
}

// headKey is the key under which HF's folder holds the parameter p of a tied embedding for the head, transposed; "" for other parameters.
func (l *lora) headKey(p *Param) string {
	if l.tying == nil || l.tying.save {
		return ""
	}
	switch e := l.pairs[l.tying.embedding]; p {
	case e.a:
		return prefix + l.tying.head + ".lora_B.weight"
	case e.b:
		return prefix + l.tying.head + ".lora_A.weight"
	}
	return ""
}

// saving implements storer.
func (l *lora) saving(int) {}

// stored implements storer: a tied pair is in the folder for the head, too.
func (l *lora) stored(p *Param, v []float32, _ int) []safetensors.Tensor {
	key := l.headKey(p)
	if key == "" {
		return nil
	}
	return []safetensors.Tensor{safetensors.F32(p.Key, v, p.Shape...), safetensors.F32(key, transpose(v, p.Rows, p.Cols), p.Cols, p.Rows)}
}

// restored implements storer.
func (l *lora) restored(p *Param, f safetensors.Source, path string) ([]float32, []string, error) {
	key := l.headKey(p)
	if key == "" {
		return nil, nil, nil
	}
	v, err := tensor(f, path, p.Key, p.Shape)
	if err != nil {
		return nil, nil, err
	}
	h, err := tensor(f, path, key, []int{p.Cols, p.Rows})
	if err != nil {
		return nil, nil, err
	}
	if !slices.Equal(h, transpose(v, p.Rows, p.Cols)) {
		return nil, nil, fmt.Errorf("%s: ensure_weight_tying is true, but %s is not %s transposed", path, key, p.Key)
	}
	return v, []string{p.Key, key}, nil
}

// transposeOp is out [cols, rows] = in [rows, cols], transposed: a parameter in another layout. There is one slot.
type transposeOp struct{ rows, cols int }

// Plan implements nn.Op.
func (o *transposeOp) Plan([]nn.Shape, []bool) nn.Plan {
	return nn.Plan{Out: nn.Shape{Count: o.cols, Cols: o.rows}, ReadsIn: []bool{false}}
}

// Forward implements nn.Op.
func (o *transposeOp) Forward(w *nn.Work) {
	for i := range o.rows {
		for j := range o.cols {
			w.Out[j*o.rows+i] = w.In[0][i*o.cols+j]
		}
	}
}

// Backward implements nn.Op.
func (o *transposeOp) Backward(w *nn.Work) {
	if w.DIn[0] == nil {
		return
	}
	for i := range o.rows {
		for j := range o.cols {
			w.DIn[0][i*o.cols+j] += w.DOut[j*o.rows+i]
		}
	}
}
