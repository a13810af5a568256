package nn

import (
	"fmt"

	"github.com/adaptflow/adaptflow/kernels"
)

// Prompt says how an adapter lengthens each document of its slots. A program that is compiled with such an adapter inserts the virtual
// rows itself, in every mode, with a KV cache too: its caller hands over steps of text and gets results of text.
type Prompt struct {
	Rows   int           // virtual rows before the text, at the positions from 0
	Shift  int           // how far the positions of the text move beyond Rows, for a prefix that attention alone sees
	Labels []PromptLabel // virtual tokens that training predicts too
}

// PromptLabel is a virtual token that the row before it should predict in training. Row counts from 0 and is at least 1.
type PromptLabel struct {
	Row    int
	Token  int32
	Weight float32 // of its log-probability, beside those of the text
}

// Prompter is an adapter that lengthens documents. Its Adapt fills the virtual rows at the embedding's site: they are those of
// [Step.Virtual], and the embedding has looked up token 0 for them.
type Prompter interface{ Prompt() Prompt }

// PromptOf is how the adapters lengthen documents; the zero Prompt when none does. No more than one may.
func PromptOf(adapters []Adapter) Prompt {
	var out Prompt
	n := 0
	for _, a := range adapters {
		if p, ok := a.(Prompter); ok {
			if q := p.Prompt(); q.Rows > 0 || q.Shift > 0 {
				out, n = q, n+1
			}
		}
	}
	if n > 1 {
		panic(fmt.Sprintf("nn: %d adapters with virtual tokens in one program", n))
	}
	return out
}

// Positions is how many positions of the model the prompt takes before the text.
func (q Prompt) Positions() int { return q.Rows + q.Shift }

// Documents is the number of documents that a program for steps of the given number of tokens, in that many packed sequences, is
// planned for: without virtual rows as many as tokens; with them so many that the virtual rows add a quarter to the tokens, at least
// one a sequence. A step of more documents is run in parts: see [Program.Parts].
func (q Prompt) Documents(tokens, sequences int) int {
	if q.Rows == 0 {
		return tokens
	}
	return min(tokens, max(sequences, tokens/(4*q.Rows), 1))
}

// grow adds to capacities what the prompt inserts.
func (q Prompt) grow(c Caps, mode Mode, cache bool) Caps {
	c.T += q.Rows * c.N
	if cache {
		c.C = (c.C + q.Rows + kernels.CacheUnit - 1) / kernels.CacheUnit * kernels.CacheUnit
	}
	if mode == ModeTrain {
		c.S += len(q.Labels) * c.N
	}
	return c
}

// Parts cuts a step into steps of whole groups of documents that the program has room for; the step itself when it has. A group that alone
// is too long is a part that Forward panics on.
func (p *Program) Parts(s *Step) []*Step {
	c := p.text
	if len(s.Tokens) <= c.T && len(s.Docs) <= c.N {
		return []*Step{s}
	}
	var out []*Step
	g := max(1, s.Group)
	for from := 0; from < len(s.Docs); {
		to := from + g
		for to < len(s.Docs) && to+g-from <= c.N && int(s.Docs[to+g-1].End-s.Docs[from].Start) <= c.T {
			to += g
		}
		out = append(out, s.documents(from, to))
		from = to
	}
	return out
}

// documents is the part of a packed step that holds the documents [from, to).
func (s *Step) documents(from, to int) *Step {
	lo, hi := s.Docs[from].Start, s.Docs[to-1].End
	out := &Step{Tokens: s.Tokens[lo:hi], Positions: s.Positions[lo:hi], Group: s.Group, Scores: s.Scores,
		Temperature: s.Temperature, Divergence: s.Divergence, Index: s.Index}
	if s.Targets != nil || s.Stats != nil {
		panic("nn: targets and statistics are set on the parts of a step")
	}
	for i := from; i < to; i++ {
		d := s.Docs[i]
		d.Start, d.End = d.Start-lo, d.End-lo
		out.Docs, out.DocIDs = append(out.Docs, d), append(out.DocIDs, s.DocID(i))
	}
	if s.Tasks != nil {
		out.Tasks = s.Tasks[from:to]
	}
	if s.Texts != nil {
		out.Texts = s.Texts[from:to]
	}
	for i, r := range s.Rows {
		if r >= lo && r < hi {
			out.Rows = append(out.Rows, r-lo)
			if s.Labels != nil {
				out.Labels = append(out.Labels, s.Labels[i])
			}
		}
	}
	for _, g := range s.Segments {
		if a, b := max(g.Start, int(lo)), min(g.End, int(hi)); a < b {
			out.Segments = append(out.Segments, Segment{a - int(lo), b - int(lo), g.Slot})
		}
	}
	return out
}

// Supervised is the number of labels that a training step of s has, those of virtual tokens among them: what a mean loss is over.
func (p *Program) Supervised(s *Step) int {
	n := len(s.Rows)
	if p.o.Mode == ModeTrain && len(p.prompt.Labels) > 0 {
		for i := range s.Docs {
			if s.slot(i) >= 0 && s.Docs[i].Past == 0 {
				n += len(p.prompt.Labels)
			}
		}
	}
	return n
}

// slot is the adapter slot of a document: that of its first row, 0 where the step has no segments.
func (s *Step) slot(i int) int {
	d := &s.Docs[i]
	if s.Segments == nil {
		return 0
	}
	for _, g := range s.Segments {
		if g.Start <= int(d.Start) && int(d.Start) < g.End {
			return g.Slot
		}
	}
	return -1
}

// expand inserts the virtual rows into s. Its result shares nothing with s and is valid until the next call.
func (p *Program) expand(s *Step) *Step {
	q, e := p.prompt, &p.expanded
	*e = Step{Tokens: e.Tokens[:0], Positions: e.Positions[:0], Docs: e.Docs[:0], DocIDs: s.DocIDs, Rows: e.Rows[:0], Labels: e.Labels[:0],
		Segments: e.Segments[:0], Virtual: e.Virtual[:0], Texts: s.Texts, Tasks: s.Tasks, Targets: s.Targets, Scores: s.Scores,
		Stats: s.Stats, Temperature: s.Temperature, Divergence: s.Divergence, Index: s.Index}
	p.moved, p.virtual = p.moved[:0], p.virtual[:0]
	next := int32(0)
	for i, d := range s.Docs {
		if d.Start != next {
			panic(fmt.Sprintf("nn: document %d begins at row %d, the one before ends at %d: virtual tokens want documents without gaps",
				i, d.Start, next))
		}
		next = d.End
		slot, rows, shift := s.slot(i), 0, 0
		if slot >= 0 {
			shift = q.Positions()
			if d.Past == 0 {
				rows = q.Rows
			} else {
				d.Past += int32(q.Rows)
			}
		}
		at := int32(len(e.Tokens))
		for r := range rows {
			p.virtual = append(p.virtual, at+int32(r))
			e.Tokens, e.Positions = append(e.Tokens, 0), append(e.Positions, int32(r))
		}
		move := at + int32(rows) - d.Start
		for t := d.Start; t < d.End; t++ {
			e.Tokens, e.Positions = append(e.Tokens, s.Tokens[t]), append(e.Positions, s.Positions[t]+int32(shift))
			p.moved = append(p.moved, t+move)
		}
		if s.Segments != nil {
			if rows > 0 {
				e.Segments = append(e.Segments, Segment{int(at), int(at) + rows, slot})
			}
			for _, g := range s.Segments {
				if a, b := max(g.Start, int(d.Start)), min(g.End, int(d.End)); a < b {
					e.Segments = append(e.Segments, Segment{a + int(move), b + int(move), g.Slot})
				}
			}
		}
		e.Virtual = append(e.Virtual, int32(rows))
		e.Docs = append(e.Docs, kernels.Doc{Start: at, End: d.End + move, Past: d.Past, Cache: d.Cache, Slot: int32(slot)})
	}
	if s.Segments == nil {
		e.Segments = nil
	}
	for i, r := range s.Rows {
		if r >= 0 {
			r = p.moved[r]
		} else {
			r = p.virtual[-1-r]
		}
		e.Rows = append(e.Rows, r)
		if p.o.Mode != ModeLogits {
			e.Labels = append(e.Labels, s.Labels[i])
		}
	}
	if p.o.Mode == ModeTrain && len(q.Labels) > 0 {
		for i, d := range e.Docs {
			if e.Virtual[i] > 0 {
				for _, l := range q.Labels {
					e.Rows, e.Labels = append(e.Rows, d.Start+int32(l.Row)-1), append(e.Labels, l.Token)
				}
			}
		}
	}
	return e
}

// weighted returns a copy of the log-probabilities in which those of virtual tokens have their weights.
func (p *Program) weighted(logp []float32, text int) []float32 {
	p.logp = append(p.logp[:0], logp...)
	p.weigh(p.logp, text)
	return p.logp
}

func (p *Program) weigh(x []float32, text int) {
	for i := text; i < len(x); i++ {
		x[i] *= p.prompt.Labels[(i-text)%len(p.prompt.Labels)].Weight
	}
}
