package datasets

import (
	"fmt"
	"slices"
)

// NoLoss is the label of a token that no loss is taken on, Hugging Face's ignore index.
const NoLoss = -100

// Doc is a tokenized document.
type Doc struct {
	ID     string // doc_id: source path and record index, see [DocID]
	Source string // source path
	Key    string // key of training by key, or ""
	Tokens []int32
	// Labels are unshifted labels, NoLoss where no loss is taken; nil means the tokens themselves.
	Labels []int32
	// Spans are each token's [start, end) in the source text, in Unicode code points; nil when unknown.
	Spans [][2]int32
}

// Sequence is a packed row: several documents, or pieces of documents, one after another.
type Sequence struct {
	InputIDs []int32 // [T]
	// Labels follow the Hugging Face convention: unshifted (the label of position t is the token at t, which position t-1 predicts),
	// NoLoss where no loss is taken, and NoLoss at the first token of each isolated document.
	Labels []int32 // [T]
	// DocStarts are the positions where an isolated document begins, ascending, the first 0. A block packed with isolate_documents false
	// is one document: [0].
	DocStarts []int32
	// DocIDs, DocSpans and Sources have one element for each piece of a document in the row, in order; with isolated documents piece i
	// begins at DocStarts[i].
	DocIDs []string
	// DocSpans are the pieces' [start, end) in the source text, in Unicode code points; of a row of several fields, in the text that its
	// template or prompt makes of it.
	DocSpans [][2]int32
	Sources  []string
	// Key is the key of training by key, "" for none.
	Key string
	// Values are columns of numbers beside the tokens, by name, that an objective reads: one number a token, such as the log-probabilities
	// of a rollout, or one an isolated document. Shards of the kinds there are have none.
	Values map[string][]float32
}

// Validate checks the invariants that training relies on: as many labels as tokens, at least one token, document starts ascending from 0.
func (s *Sequence) Validate() error {
	n := len(s.InputIDs)
	switch {
	case n == 0:
		return fmt.Errorf("the sequence has no tokens")
	case len(s.Labels) != n:
		return fmt.Errorf("%d labels for %d tokens in input_ids", len(s.Labels), n)
	case len(s.DocStarts) == 0 || s.DocStarts[0] != 0:
		return fmt.Errorf("doc_starts does not begin with 0")
	case int(s.DocStarts[len(s.DocStarts)-1]) >= n:
		return fmt.Errorf("doc_starts ends at %d, beyond the %d tokens", s.DocStarts[len(s.DocStarts)-1], n)
	case len(s.DocSpans) != len(s.DocIDs):
		return fmt.Errorf("%d doc_spans for %d doc_ids", len(s.DocSpans), len(s.DocIDs))
	case len(s.Sources) != len(s.DocIDs):
		return fmt.Errorf("%d sources for %d doc_ids", len(s.Sources), len(s.DocIDs))
	}
	for i := 1; i < len(s.DocStarts); i++ {
		if s.DocStarts[i] <= s.DocStarts[i-1] {
			return fmt.Errorf("doc_starts is not ascending: %d after %d", s.DocStarts[i], s.DocStarts[i-1])
		}
	}
	if i := slices.IndexFunc(s.InputIDs, func(t int32) bool { return t < 0 }); i >= 0 {
		return fmt.Errorf("input_ids[%d] is %d, negative", i, s.InputIDs[i])
	}
	return nil
}

// Document is the range of the tokens of an isolated document.
func (s *Sequence) Document(i int) (from, to int) {
	to = len(s.InputIDs)
	if i+1 < len(s.DocStarts) {
		to = int(s.DocStarts[i+1])
	}
	return int(s.DocStarts[i]), to
}

// Cut is the sequence with no more than the first length tokens of each of its isolated documents.
func (s *Sequence) Cut(length int) Sequence {
	out := *s
	out.InputIDs, out.Labels, out.DocStarts = nil, nil, nil
	for i := range s.DocStarts {
		from, to := s.Document(i)
		to = min(to, from+length)
		out.DocStarts = append(out.DocStarts, int32(len(out.InputIDs)))
		out.InputIDs, out.Labels = append(out.InputIDs, s.InputIDs[from:to]...), append(out.Labels, s.Labels[from:to]...)
	}
	return out
}

// Pick is the sequence's isolated documents for which keep says so, one after another; i counts the documents.
func (s *Sequence) Pick(keep func(i int) bool) Sequence {
	out := Sequence{Key: s.Key}
	for i, from := range s.DocStarts {
		if !keep(i) {
			continue
		}
		to := len(s.InputIDs)
		if i+1 < len(s.DocStarts) {
			to = int(s.DocStarts[i+1])
		}
		out.DocStarts = append(out.DocStarts, int32(len(out.InputIDs)))
		out.InputIDs, out.Labels = append(out.InputIDs, s.InputIDs[from:to]...), append(out.Labels, s.Labels[from:to]...)
		out.DocIDs, out.DocSpans, out.Sources = append(out.DocIDs, s.DocIDs[i]), append(out.DocSpans, s.DocSpans[i]),
			append(out.Sources, s.Sources[i])
	}
	return out
}

// Answer is where the part of a document begins that a loss is taken on, after its prompt of one token or more; the document's end where
// there is none.
func (s *Sequence) Answer(d int) int {
	from, to := s.Document(d)
	at := from + 1
	for at < to && s.Labels[at] == NoLoss {
		at++
	}
	return at
}

// Supervised counts the positions that a loss is taken on.
func (s *Sequence) Supervised() int {
	n := 0
	for _, l := range s.Labels {
		if l > NoLoss {
			n++
		}
	}
	return n
}
