package peft

import (
	"fmt"
	"math"
	"slices"

	"github.com/adaptflow/adaptflow/nn"
)

// Product is what an adapter adds to the weight [Out, In] of a linear layer, as a product of two matrices: Scale·B·A. Lookup says that the
// layer is the embedding of tokens instead, to whose weight [In, Out] the transpose is added.
type Product struct {
	Module  string
	Lookup  bool
	A       []float32 // [Rank, In]
	B       []float32 // [Out, Rank]
	Rank    int
	In, Out int
	Scale   float64
	// Lost is how much of the update is not in the product: the norm of what is missing, divided by the update's.
	Lost float64
}

// asMuch is what an update's product may lack, for it to be as good as the update: what rounding weights to float32 leaves.
const asMuch = 1e-4

// Products are the updates of the adapter in a slot of params as products of two matrices, in the order of the modules: the pairs of LoRA
// as they are, and of other methods what a singular value decomposition of merged weights less the base's gives. base is that of
// [Adapter.Merge]. With a maxRank no product has a larger rank, and Lost says what that costs; with 0 an update that half the rank of its
// weight does not hold is an error. So is an adapter that changes more than weights of linear layers.
func (a *Adapter) Products(params *nn.Params, slot int, base func(tensor string) ([]float32, error), maxRank int) ([]Product, error) {
	if l, ok := a.Method.(*lora); ok && l.plain() {
		out, err := a.pairs(l, params, slot)
		if err != nil {
			return nil, err
		}
		for i := range out {
			if maxRank > 0 && out[i].Rank > maxRank {
				if out[i], err = out[i].cut(maxRank); err != nil {
					return nil, err
				}
			}
		}
		return out, nil
	}
	s, err := a.MergeStream(params, slot, base, 1)
	if err != nil {
		return nil, err
	}
	base = a.stored(base)
	known := map[string]bool{}
	var out []Product
	for _, site := range a.sites {
		l, ok := layoutOf(site.Op)
		name := site.Name + ".weight"
		if _, changes := s.sizes[name]; !ok || !changes || known[name] {
			continue
		}
		known[name] = true
		if l.W == nil || l.Lookup || l.Vocab && a.env.Tied {
			return nil, a.noProduct(name)
		}
		p := Product{Module: site.Name, In: l.Cols, Out: l.Rows, Scale: 1}
		if l.Transposed {
			p.In, p.Out = l.Rows, l.Cols
		}
		d, err := s.delta(name, base)
		if err != nil {
			return nil, err
		}
		if l.Transposed {
			d = transpose64(d, p.In, p.Out)
		}
		if err := p.decompose(d, maxRank); err != nil {
			return nil, fmt.Errorf("peft: %s: %w", a.Type(), err)
		}
		if p.Rank > 0 {
			out = append(out, p)
		}
	}
	for _, name := range sortedKeys(s.sizes) {
		if !known[name] {
			return nil, a.noProduct(name)
		}
	}
	return out, nil
}

func (a *Adapter) noProduct(tensor string) error {
	return fmt.Errorf("peft: %s changes %s, which is not a matrix of a linear layer that a product can be added to: merge the "+
		"adapter", a.Type(), tensor)
}

// plain says whether the adapter is pairs of matrices beside linear layers, and the embedding of tokens where the head is not tied to it,
// and nothing else. The weights that HF saves beside such an embedding are the base's own.
func (l *lora) plain() bool {
	if l.cfg.LayerReplication != nil || len(l.params) != 2*len(l.names) {
		return false
	}
	for _, p := range l.pairs {
		positions := p.kind == nn.KindEmbedding && !p.vocab
		if p.tied != nil || p.dora != nil || p.base != nil || p.bias != nil || positions || p.vocab && l.tied {
			return false
		}
	}
	return true
}

// pairs are those of LoRA.
func (a *Adapter) pairs(l *lora, params *nn.Params, slot int) (out []Product, err error) {
	for _, name := range l.names {
		p := l.pairs[name]
		lookup := p.kind == nn.KindEmbedding
		q := Product{Module: name, Lookup: lookup, Rank: p.r, In: p.a.Cols, Out: p.b.Rows, Scale: p.scale}
		if q.A, err = a.values(params, p.a, slot); err != nil {
			return nil, err
		}
		if q.B, err = a.values(params, p.b, slot); err != nil {
			return nil, err
		}
		out = append(out, q)
	}
	return out, nil
}

// InvocationTokens are alora_invocation_tokens, nil where the adapter acts on every token.
func (a *Adapter) InvocationTokens() []int32 {
	l, ok := a.Method.(*lora)
	if !ok {
		return nil
	}
	return slices.Clone(l.cfg.AloraInvocationTokens)
}

// delta is what the adapter adds to a tensor.
func (s *MergeStream) delta(name string, base func(tensor string) ([]float32, error)) ([]float64, error) {
	after, err := s.Tensor(name)
	if err != nil {
		return nil, err
	}
	before, err := base(name)
	if err != nil {
		return nil, err
	}
	d := make([]float64, len(after))
	for i, v := range after {
		d[i] = float64(v) - float64(before[i])
	}
	return d, nil
}

func transpose64(d []float64, rows, cols int) []float64 {
	t := make([]float64, len(d))
	for i := range rows {
		for j := range cols {
			t[j*rows+i] = d[i*cols+j]
		}
	}
	return t
}

// spectrum is that of the update: of a large one as much as its product takes, in ranges that grow until they hold it.
func (p *Product) spectrum(d []float64, maxRank int) (spectrum, bool) {
	side := min(p.In, p.Out)
	if side <= exactly {
		return allOf(d, p.Out, p.In)
	}
	if maxRank > 0 {
		return largestOf(d, p.Out, p.In, maxRank)
	}
	for rank := 64; ; rank *= 2 {
		f, ok := largestOf(d, p.Out, p.In, rank)
		lost := 0.0
		if ok {
			lost = f.lost(len(f.s))
		}
		// An update of which half is left behind more than 500 values is not a product.
		if lost <= asMuch || rank >= side/2 || rank >= 512 && lost > 0.5 {
			return f, ok
		}
	}
}

// decompose makes the product of the update d [Out, In].
func (p *Product) decompose(d []float64, maxRank int) error {
	if !slices.ContainsFunc(d, func(v float64) bool { return v != 0 }) {
		return nil
	}
	f, ok := p.spectrum(d, maxRank)
	if !ok {
		return fmt.Errorf("the update of %s has no singular value decomposition: its values are not finite", p.Module)
	}
	s, u, v := f.s, &f.u, &f.v
	r := f.enough()
	most := maxRank
	if most == 0 {
		if most = max(min(p.In, p.Out)/2, 1); r > most || f.lost(r) > asMuch {
			return fmt.Errorf("the update of %s has rank %d or more, and a product that holds it is as large as the weight: give a "+
				"largest rank (--max-rank), by which part of it is lost (of rank 64, %.2g of its norm), or merge the adapter", p.Module, r,
				f.lost(min(64, len(s))))
		}
	}
	r = min(r, most)
	p.Rank, p.Lost = r, f.lost(r)
	p.A, p.B = make([]float32, r*p.In), make([]float32, p.Out*r)
	for k := range r {
		root := math.Sqrt(s[k])
		for j := range p.In {
			p.A[k*p.In+j] = float32(v.At(j, k) * root)
		}
		for i := range p.Out {
			p.B[i*r+k] = float32(u.At(i, k) * root)
		}
	}
	return nil
}

// cut is the product of a lower rank that is nearest to p.
func (p Product) cut(rank int) (Product, error) {
	d := make([]float64, p.Out*p.In)
	for i := range p.Out {
		row := d[i*p.In:][:p.In]
		for k := range p.Rank {
			b := p.Scale * float64(p.B[i*p.Rank+k])
			for j, v := range p.A[k*p.In:][:p.In] {
				row[j] += b * float64(v)
			}
		}
	}
	q := Product{Module: p.Module, Lookup: p.Lookup, In: p.In, Out: p.Out, Scale: 1}
	return q, q.decompose(d, rank)
}
