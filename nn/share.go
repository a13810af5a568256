package nn

import (
	"slices"

	"github.com/adaptflow/adaptflow/kernels"
)

// Textual is an op by which a row depends on more than its token, its position and the rows before it in its text: on how long the text is,
// on what follows, or, by its random numbers, on which document it is of. A program that has one shares no rows of documents.
type Textual interface {
	// ByText says so of passes with dropout or without.
	ByText(training bool) bool
}

// SharesRows says whether rows with which several documents of a step begin have the same values in each, so that a pass may compute them
// once: see [Step.Share]. training asks it of passes with dropout.
func (p *Program) SharesRows(training bool) bool {
	if p.prompt.Positions() > 0 || p.o.Cache {
		return false
	}
	live := p.b.live()
	for i, s := range p.b.steps {
		if t, ok := s.op.(Textual); ok && live[i] && t.ByText(training) {
			return false
		}
	}
	return true
}

// Share is the step with rows left out that are computed before: a document goes on from the rows that it has in common with one before it
// in its group; where no documents are in groups, from those of any before it that has all of its rows before the first that is wanted,
// such as the same prompt. The wanted rows and their order are as before, and so are the bits of what a pass gives of them; gradients
// are sums over other rows. It is the step itself where nothing is shared.
func (s *Step) Share() *Step {
	if s.Tasks != nil || s.Texts != nil || s.Virtual != nil || s.Targets != nil || len(s.Segments) > 1 || len(s.Docs) < 2 {
		return s
	}
	shared, wanted := false, s.wantedFrom()
	from := make([]int32, len(s.Docs)) // how many rows each goes on from
	host := make([]int, len(s.Docs))
	for i := range s.Docs {
		first := 0
		if s.Group > 1 {
			first = i / s.Group * s.Group
		}
		for h := first; h < i && from[i] == 0; h++ {
			if from[h] == 0 {
				from[i], host[i] = int32(s.common(h, i, wanted[i])), h
			}
		}
		shared = shared || from[i] > 0
	}
	if !shared {
		return s
	}
	out := &Step{Docs: slices.Clone(s.Docs), DocIDs: s.DocIDs, Labels: s.Labels, Scores: s.Scores, Stats: s.Stats, Group: s.Group,
		Index: s.Index, Temperature: s.Temperature, Rows: slices.Clone(s.Rows)}
	moved := make([]int32, len(s.Tokens))
	for i, d := range s.Docs {
		at := int32(len(out.Tokens))
		lo := d.Start + from[i]
		for r := lo; r < d.End; r++ {
			moved[r] = at + r - lo
		}
		out.Tokens, out.Positions = append(out.Tokens, s.Tokens[lo:d.End]...), append(out.Positions, s.Positions[lo:d.End]...)
		o := &out.Docs[i]
		o.Start, o.End = at, at+d.End-lo
		if from[i] > 0 {
			o.Past, o.Cache = from[i], out.Docs[host[i]].Start
		}
	}
	for i, r := range out.Rows {
		out.Rows[i] = moved[r]
	}
	if s.Segments != nil {
		out.Segments = []Segment{}
		if len(s.Segments) == 1 {
			out.Segments = append(out.Segments, Segment{End: len(out.Tokens), Slot: s.Segments[0].Slot})
		}
	}
	return out
}

// wantedFrom is, of each document, how many rows precede the first that is wanted; but the last, where none is.
func (s *Step) wantedFrom() []int {
	out := make([]int, len(s.Docs))
	for i, d := range s.Docs {
		out[i] = int(d.End-d.Start) - 1
	}
	doc := 0
	for _, r := range s.Rows {
		if doc < len(s.Docs)-1 && s.Docs[doc].End <= r || r < s.Docs[doc].Start {
			doc, _ = slices.BinarySearchFunc(s.Docs, r, func(d kernels.Doc, r int32) int {
				if d.End <= r {
					return -1
				}
				return 1
			})
		}
		if doc < len(s.Docs) {
			out[doc] = min(out[doc], int(r-s.Docs[doc].Start))
		}
	}
	return out
}

// common is how many rows document i can go on from of those of document h: of its n rows that nothing is wanted of.
func (s *Step) common(h, i, n int) int {
	a, b := s.Docs[h], s.Docs[i]
	if a.Past > 0 || b.Past > 0 {
		return 0
	}
	same := 0
	for most := min(n, int(a.End-a.Start)); same < most; same++ {
		x, y := int(a.Start)+same, int(b.Start)+same
		if s.Tokens[x] != s.Tokens[y] || s.Positions[x] != s.Positions[y] {
			break
		}
	}
	if same < n && s.Group < 2 {
		return 0 // another prompt with the same beginning: one before it may be the same
	}
	return kernels.SharedRows(same, int(a.End-a.Start), int(b.End-b.Start))
}
