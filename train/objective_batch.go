package train

import (
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/nn"
)

// Batch is a micro-batch, or a part of one, packed for a pass.
type Batch struct {
	Step *nn.Step
	// LogP are the log-probabilities of the supervised tokens, [Step.Rows] in their order, and after them those of virtual tokens,
	// weighted.
	LogP []float32
	// Reference are those of the supervised tokens with the adapter off, where the Spec asks for them.
	Reference []float32

	// Kept is what a [Preparer] keeps of the batch.
	Kept any

	seqs    []datasets.Sequence // what the batch was packed of
	first   int                 // the batch's first document of theirs
	ends    []int               // of each document's rows in Step.Rows
	answers []int               // where the rows of each document's answer begin; nil for its first
	columns map[string][]float32
	perDoc  map[string]bool
}

// Docs is the number of documents.
func (b *Batch) Docs() int { return len(b.ends) }

// Rows are the supervised tokens of a document, a range of Step.Rows, LogP and per-token columns.
func (b *Batch) Rows(doc int) (from, to int) {
	if doc > 0 {
		from = b.ends[doc-1]
	}
	return from, b.ends[doc]
}

// Answer are the rows of a document's answer: those of Rows, unless the Spec asks for Prompts.
func (b *Batch) Answer(doc int) (from, to int) {
	from, to = b.Rows(doc)
	if b.answers != nil {
		from = b.answers[doc]
	}
	return from, to
}

// Sum is the sum over a document's supervised tokens of values that are a number each, such as LogP.
func (b *Batch) Sum(x []float32, doc int) (sum float64) {
	from, to := b.Rows(doc)
	for _, v := range x[from:to] {
		sum += float64(v)
	}
	return sum
}

// Mean is Sum over the number of a document's supervised tokens, 0 where it has none.
func (b *Batch) Mean(x []float32, doc int) float64 {
	from, to := b.Rows(doc)
	return b.Sum(x, doc) / float64(max(1, to-from))
}

// source is a document as its sequence has it, before the objective packed it, and where its first label is.
func (b *Batch) source(doc int) (ids []int32, answer int) {
	doc += b.first
	for i := range b.seqs {
		q := &b.seqs[i]
		if doc >= len(q.DocStarts) {
			doc -= len(q.DocStarts)
			continue
		}
		from, to := q.Document(doc)
		for answer = 0; answer < to-from && (answer == 0 || q.Labels[from+answer] == datasets.NoLoss); {
			answer++
		}
		return q.InputIDs[from:to], answer
	}
	panic("train: a document that no sequence of its batch has")
}

// Column is a column of the Spec: one number a document, or one a supervised token.
func (b *Batch) Column(name string) []float32 { return b.columns[name] }

// batch packs sequences as the objective takes them.
func (r *goal) batch(seqs []datasets.Sequence) (*Batch, error) {
	pack := r.spec.Pack
	if pack == nil {
		pack = StepFrom
	}
	s, err := pack(seqs)
	if err != nil {
		return nil, err
	}
	s.Group, s.Scores = r.spec.Group, r.spec.Scores
	if t := float32(r.spec.Temperature); t != 1 {
		s.Temperature = t
	}
	if g := s.Group; g > 1 {
		for i := range seqs {
			if n := len(seqs[i].DocStarts); n%g != 0 {
				return nil, fmt.Errorf("sequence of document %s: %d documents, where %d at a time are an example: prepare the data for "+
					"this objective",
					first(seqs[i].DocIDs), n, g)
			}
		}
	}
	b := &Batch{Step: s, seqs: seqs}
	if r.spec.Prompts {
		b.prompts(max(1, r.spec.Group))
	}
	b.bound()
	for _, c := range r.spec.Columns {
		if b.columns == nil {
			b.columns, b.perDoc = map[string][]float32{}, map[string]bool{}
		}
		b.perDoc[c.Name] = !c.PerToken
		if b.columns[c.Name], err = column(c, seqs, s); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// bound finds where the rows of each document end.
func (b *Batch) bound() {
	at := 0
	for _, d := range b.Step.Docs {
		for at < len(b.Step.Rows) && b.Step.Rows[at] < d.End {
			at++
		}
		b.ends = append(b.ends, at)
	}
}

// prompts gives the tokens before the first label of every group's first document a loss.
func (b *Batch) prompts(group int) {
	s := b.Step
	rows, labels := s.Rows, s.Labels
	s.Rows, s.Labels = nil, nil
	for i, d := range s.Docs {
		n := 0
		for n < len(rows) && rows[n] < d.End {
			n++
		}
		if i%group == 0 && n > 0 {
			for t := d.Start; t < rows[0]; t++ {
				s.Rows, s.Labels = append(s.Rows, t), append(s.Labels, s.Tokens[t+1])
			}
		}
		b.answers = append(b.answers, len(s.Rows))
		s.Rows, s.Labels = append(s.Rows, rows[:n]...), append(s.Labels, labels[:n]...)
		rows, labels = rows[n:], labels[n:]
	}
}

// column gathers a column of the sequences of a step.
func column(c Column, seqs []datasets.Sequence, s *nn.Step) ([]float32, error) {
	var all []float32
	if c.Optional && !slices.ContainsFunc(seqs, func(q datasets.Sequence) bool { return q.Values[c.Name] != nil }) {
		return nil, nil
	}
	for i := range seqs {
		q := &seqs[i]
		want, of := len(q.DocStarts), "documents"
		if c.PerToken {
			want, of = len(q.InputIDs), "tokens"
		}
		if x := q.Values[c.Name]; x == nil && c.Optional {
			all = append(all, make([]float32, want)...)
			continue
		} else if len(x) != want {
			return nil, fmt.Errorf("sequence of document %s: its column %s has %d numbers for %d %s: prepare the data for this objective",
				first(q.DocIDs), c.Name, len(x), want, of)
		}
		all = append(all, q.Values[c.Name]...)
	}
	if !c.PerToken {
		return all, nil
	}
	out := make([]float32, len(s.Rows))
	for i, r := range s.Rows {
		out[i] = all[r+1] // of the token that the row predicts
	}
	return out, nil
}

// parts are the batches of whole documents that a program has room for.
func (b *Batch) parts(prog *nn.Program) []*Batch {
	steps := prog.Parts(b.Step)
	if len(steps) == 1 {
		return []*Batch{b}
	}
	var out []*Batch
	doc := 0
	for _, s := range steps {
		p := &Batch{Step: s, seqs: b.seqs, first: b.first + doc}
		from, _ := b.Rows(doc)
		for d := range s.Docs {
			p.ends = append(p.ends, b.ends[doc+d]-from)
			if b.answers != nil {
				p.answers = append(p.answers, b.answers[doc+d]-from)
			}
		}
		for name, x := range b.columns {
			if p.columns == nil {
				p.columns, p.perDoc = map[string][]float32{}, b.perDoc
			}
			if x == nil {
				p.columns[name] = nil
			} else if b.perDoc[name] {
				p.columns[name] = x[doc : doc+len(s.Docs)]
			} else {
				p.columns[name] = x[from : from+len(s.Rows)]
			}
		}
		doc += len(s.Docs)
		out = append(out, p)
	}
	return out
}

// Pass is the program of a batch's pass, for what is computed before it.
type Pass struct {
	// Training says that a backward pass follows; else the batch is evaluated.
	Training bool
	// Slot is that of the adapter that learns.
	Slot int
	prog *nn.Program
	ref  *reference // nil for the base with the adapter off
}

// Reference is [Pass.Score] by the reference: the base with the adapter off, or the copy that a training keeps of the adapter.
func (p *Pass) Reference(s *nn.Step) []float32 {
	if p.ref == nil {
		return p.Score(s, -1)
	}
	defer p.ref.swap()()
	return p.Score(s, p.Slot)
}

// Score is log p of the labels of a step, [S], with the adapter of a slot, -1 for the base alone, without dropout and without a gradient.
// It is valid until the program's next pass.
func (p *Pass) Score(s *nn.Step, slot int) []float32 {
	c := *s
	c.Targets, c.Divergence, c.Stats, c.Segments = nil, nil, nil, []nn.Segment{{End: len(s.Tokens), Slot: slot}}
	return p.prog.Forward(&c, false)[:len(s.Rows)]
}
