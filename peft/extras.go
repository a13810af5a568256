package peft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/nn"
)

// extras are the parts of the base model that are trained themselves beside a method's own parameters: modules_to_save,
// biases and rows of embeddings. Methods share it.
type extras struct {
	at map[string]*trained
}

// trained is what is trained of one site's module.
type trained struct {
	kind   nn.Kind
	weight *Param
	bias   *Param
	rows   *Param // replaces the rows ids of the weight
	ids    []int32
	layout layout // of the module's weight
	pair   *pair  // LoRA on the head
	shared bool   // weight or rows are the embedding's, which the head is tied to
}

// layout is the weight and the bias that a module holds of the base.
type layout struct{ nn.Base }

// layoutOf describes the module of a site; ok is false where there is no weight.
func layoutOf(op nn.Op) (l layout, ok bool) {
	m, ok := op.(nn.Module)
	if ok {
		l.Base = m.Base()
	}
	return l, ok
}

// param is a parameter that trains the module's weight, from its values in the base.
func (l layout) param(name, key string) *Param {
	return &Param{Name: name, Key: key, Rows: l.Rows, Cols: l.Cols, Shape: l.Shape(), Init: func(d []float32) { copy(d, l.Dense()) }}
}

// biasParam is a parameter that trains the module's bias, from its values in the base.
func (l layout) biasParam(name, key string) *Param {
	return &Param{Name: name, Key: key, Rows: 1, Cols: len(l.Bias), Shape: []int{len(l.Bias)}, Init: func(d []float32) { copy(d, l.Bias) }}
}

// biasValues is a copy of the module's bias.
func (l layout) biasValues() []float32 { return slices.Clone(l.Bias) }

// embedsTokens says whether a site is an embedding of tokens.
func embedsTokens(s nn.Site) bool {
	l, ok := layoutOf(s.Op)
	return ok && l.Lookup && l.Vocab
}

func transpose(d []float32, rows, cols int) []float32 {
	t := make([]float32, len(d))
	for i := range rows {
		for j := range cols {
			t[j*rows+i] = d[i*cols+j]
		}
	}
	return t
}

func newExtras() *extras { return &extras{at: map[string]*trained{}} }

// site returns the entry of a site, made when absent.
func (x *extras) site(s nn.Site) *trained {
	t := x.at[s.Name]
	if t == nil {
		l, _ := layoutOf(s.Op)
		t = &trained{kind: s.Kind, layout: l}
		x.at[s.Name] = t
	}
	return t
}

// weighted are the sites that are modules with weights, each once.
func weighted(sites []nn.Site) []nn.Site {
	var out []nn.Site
	seen := map[string]bool{}
	for _, s := range sites {
		if _, ok := layoutOf(s.Op); ok && !seen[s.Name] {
			seen[s.Name] = true
			out = append(out, s)
		}
	}
	return out
}

// save marks the modules of modules_to_save, which HF finds by the end of their names. A name may be that of a module
// around others, such as "mlp": then all of them are trained.
func (x *extras) save(names []string, sites []nn.Site) ([]*Param, error) {
	var out []*Param
	for _, want := range names {
		found := false
		for _, s := range weighted(sites) {
			at := 0 // length of the module's name that matched
			for i := range len(s.Name) + 1 {
				if (i == len(s.Name) || s.Name[i] == '.') && strings.HasSuffix(s.Name[:i], want) {
					at = i
					break
				}
			}
			if at == 0 {
				continue
			}
			found = true
			t := x.site(s)
			if t.weight != nil {
				continue
			}
			name := prefix + s.Name[:at] + ".modules_to_save" + s.Name[at:]
			l := t.layout
			t.weight = l.param(name+".weight", prefix+s.Name+".weight")
			out = append(out, t.weight)
			if l.Bias != nil {
				t.bias = l.biasParam(name+".bias", prefix+s.Name+".bias")
				out = append(out, t.bias)
			}
		}
		if !found && !(slices.Contains(classifierNames, want) && taskOf(sites) == seqCls) {
			return nil, noTarget("modules_to_save", []string{want}, sites)
		}
	}
	return out, nil
}

// biases marks the biases of the sites for which want is true; wrapped says whether the method's layer wraps the module,
// which changes the bias's name.
func (x *extras) biases(sites []nn.Site, want, wrapped func(name string) bool) []*Param {
	var out []*Param
	for _, s := range weighted(sites) {
		l, _ := layoutOf(s.Op)
		if l.Bias == nil || !want(s.Name) {
			continue
		}
		t := x.site(s)
		if t.bias != nil {
			continue
		}
		name := prefix + s.Name + ".bias"
		if wrapped(s.Name) {
			name = prefix + s.Name + ".base_layer.bias"
		}
		t.bias = l.biasParam(name, name)
		out = append(out, t.bias)
	}
	return out
}

// tokens marks rows of the module s for training. The tensor's name is the module's, then suffix.
func (x *extras) tokens(s nn.Site, ids []int, suffix string, init func(name string, l layout) func([]float32)) (*Param, error) {
	t := x.site(s)
	if !t.layout.Vocab {
		return nil, fmt.Errorf("peft: trainable tokens need an embedding or the head, but %s is a %s", s.Name, s.Kind)
	}
	if t.weight != nil {
		return nil, fmt.Errorf("peft: %s is trained whole by modules_to_save, so its rows cannot be trainable tokens too", s.Name)
	}
	if t.rows != nil {
		return nil, fmt.Errorf("peft: the trainable tokens of %s are named twice", s.Name)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("peft: the list of trainable tokens of %s is empty", s.Name)
	}
	seen := map[int]bool{}
	for _, id := range ids {
		if id < 0 || id >= t.layout.Rows {
			return nil, fmt.Errorf("peft: trainable token %d of %s is outside the vocabulary of %d", id, s.Name, t.layout.Rows)
		}
		if seen[id] {
			return nil, fmt.Errorf("peft: trainable token %d of %s is named twice", id, s.Name)
		}
		seen[id] = true
		t.ids = append(t.ids, int32(id))
	}
	name := prefix + s.Name + suffix
	t.rows = &Param{Name: name, Key: name, Rows: len(ids), Cols: t.layout.Cols, Shape: []int{len(ids), t.layout.Cols},
		Init: init(name, t.layout)}
	return t.rows, nil
}

// shareRows makes the head use the rows of the embedding that it is tied to.
func (x *extras) shareRows(head nn.Site, from *trained) {
	t := x.site(head)
	t.rows, t.ids, t.shared = from.rows, from.ids, true
}

// currentRows starts trainable rows at their values in the base.
func currentRows(ids []int) func(string, layout) func([]float32) {
	return func(_ string, l layout) func([]float32) {
		return func(d []float32) {
			w := l.Dense()
			for j, id := range ids {
				copy(d[j*l.Cols:(j+1)*l.Cols], w[id*l.Cols:(id+1)*l.Cols])
			}
		}
	}
}

// apply re-applies the op of a site with what is trained as inputs, and returns the site with its new output.
func (x *extras) apply(b *nn.Builder, s nn.Site) nn.Site {
	t := x.at[s.Name]
	if t == nil || t.kind != s.Kind {
		return s
	}
	in := append([]nn.Ref(nil), s.In...)
	add := func(p *Param) bool {
		if p == nil {
			return false
		}
		in = append(in, p.param(b))
		return true
	}
	if t.layout.Lookup && t.layout.Vocab && t.weight == nil {
		r := &rowsOp{d: t.layout.Cols, scale: t.layout.Scale, index: map[int32]int{}}
		for j, id := range t.ids {
			r.index[id] = j
		}
		s.Out = b.Apply(r, s.Out, t.rows.param(b))
		return s
	}
	weight, bias := add(t.weight), add(t.bias)
	s.Op = s.Op.(nn.Module).Trained(weight, bias)
	if h, ok := s.Op.(*nn.Head); ok { // the copy that Trained made
		if t.pair != nil {
			h.LowRank = &nn.LowRank{R: t.pair.r, Scale: float32(t.pair.scale)}
			if e := t.pair.tied; e != nil {
				in = append(in, b.Apply(&transposeOp{e.b.Rows, e.b.Cols}, e.b.param(b)),
					b.Apply(&transposeOp{e.a.Rows, e.a.Cols}, e.a.param(b)))
			} else {
				add(t.pair.a)
				add(t.pair.b)
			}
		}
		if add(t.rows) {
			h.ReplaceRows = t.ids
		}
	}
	s.In, s.Out = in, b.Apply(s.Op, in...)
	return s
}

// merge writes what is trained over the base's tensors. A head that shares what is trained of the embedding has no tensor of its own.
func (x *extras) merge(out map[string][]float32, value func(string) []float32, base func(string) ([]float32, error), want Wanted) error {
	for _, name := range sortedKeys(x.at) {
		t := x.at[name]
		if !want.has(name) {
			continue
		}
		if t.bias != nil {
			out[name+".bias"] = slices.Clone(value(t.bias.Name))
		}
		if t.shared {
			continue
		}
		if t.weight != nil {
			out[name+".weight"] = slices.Clone(value(t.weight.Name))
		}
		if t.rows == nil {
			continue
		}
		w, ok := out[name+".weight"]
		if !ok {
			b, err := base(name + ".weight")
			if err != nil {
				return err
			}
			w = slices.Clone(b)
		}
		d := value(t.rows.Name)
		for j, id := range t.ids {
			copy(w[int(id)*t.layout.Cols:(int(id)+1)*t.layout.Cols], d[j*t.layout.Cols:(j+1)*t.layout.Cols])
		}
		out[name+".weight"] = w
	}
	return nil
}

func scaleOf(s float32) float32 {
	if s == 0 {
		return 1
	}
	return s
}

// rowsOp replaces the embedding of chosen tokens. The inputs are the embedding's output [T, D] and the rows [n, D].
// Segments of slot -1 keep the base's rows.
type rowsOp struct {
	d     int
	scale float32
	index map[int32]int
}

// Plan implements nn.Op.
func (r *rowsOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	return nn.Plan{Out: in[0], InPlace: []bool{true, false}}
}

// Forward implements nn.Op.
func (r *rowsOp) Forward(w *nn.Work) {
	if len(w.Out) > 0 && &w.Out[0] != &w.In[0][0] {
		copy(w.Out, w.In[0])
	}
	w.EachSegment(func(start, end, slot int) {
		if slot < 0 {
			return
		}
		rows := nn.Bank(w.In[1], slot, len(r.index)*r.d)
		for t := start; t < end; t++ {
			if j, ok := r.index[w.Step.Tokens[t]]; ok {
				for i, v := range rows[j*r.d : (j+1)*r.d] {
					w.Out[t*r.d+i] = r.scale * v
				}
			}
		}
	})
}

// Backward implements nn.Op.
func (r *rowsOp) Backward(w *nn.Work) {
	w.EachSegment(func(start, end, slot int) {
		var rows []float32
		if slot >= 0 {
			rows = nn.Bank(w.DIn[1], slot, len(r.index)*r.d)
		}
		for t := start; t < end; t++ {
			var dst []float32
			scale := float32(1)
			if j, ok := r.index[w.Step.Tokens[t]]; ok && slot >= 0 {
				if rows != nil {
					dst, scale = rows[j*r.d:(j+1)*r.d], r.scale
				}
			} else if w.DIn[0] != nil {
				dst = w.DIn[0][t*r.d : (t+1)*r.d]
			}
			for i := range dst {
				dst[i] += float32(scale * w.DOut[t*r.d+i])
			}
		}
	})
}
