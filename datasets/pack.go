package datasets

import (
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/internal/settings"
)

// The packing strategies, named as TRL's.
const (
	// PackBFD is best-fit decreasing. Of a document longer than the sequence length the rest is dropped, as TRL's "bfd".
	PackBFD = "bfd"
	// PackBFDSplit is best-fit decreasing. A longer document is cut into pieces, none is dropped, as TRL's "bfd_split".
	PackBFDSplit = "bfd_split"
	// PackWrapped joins all documents and cuts the stream into blocks.
	PackWrapped = "wrapped"
	// PackNone makes a row of each document, cutting long ones.
	PackNone = "none"
)

// PackOptions says how documents become sequences.
type PackOptions struct {
	// Strategy is PackBFD, PackBFDSplit (or "best_fit", its other name), PackWrapped or PackNone.
	Strategy       string `yaml:"packing" enum:"best_fit,bfd_split,bfd,wrapped,none" help:"how documents are packed"`
	SequenceLength int    `yaml:"sequence_length" bounds:"[2,16777216]" help:"tokens of a packed sequence"`
	// IsolateDocuments keeps attention inside each document and restarts positions; false makes each row one document.
	IsolateDocuments bool `yaml:"isolate_documents" help:"attention never crosses from one document to another"`
	// DropLast drops the last block of the wrapped strategy when it is not full.
	DropLast bool `yaml:"-"`
	// Classes says that labels are classes of documents and not tokens to predict: that of a document's first token, if it is its last too,
	// is kept.
	Classes bool `yaml:"-"`
	// Answers says that documents are prompts with answers, several of which may stand in one: see [NewAnswer]. None is longer than a
	// sequence.
	Answers bool `yaml:"-"`
	// KeepEnds leaves the token at the end of a document that is cut not alone in its last piece, where nothing would predict it.
	KeepEnds bool `yaml:"-"`
}

// Supervised counts the tokens of a document that will have a loss once it is packed: the first of an isolated piece has none, nor has what
// is cut off.
func (o PackOptions) Supervised(d *Doc) int {
	pieces := []piece{{to: len(d.Tokens)}}
	if o.Strategy != PackWrapped {
		pieces = splitDocs([]Doc{*d}, []int{0}, o)
	}
	if o.Strategy == PackBFD {
		pieces = pieces[:min(1, len(pieces))]
	}
	count := 0
	for _, p := range pieces {
		for t := p.from; t < p.to; t++ {
			first := o.IsolateDocuments && t == p.from
			if (!first || o.Classes) && (d.Labels == nil || d.Labels[t] > NoLoss) {
				count++
			}
		}
	}
	return count
}

// Validate says what is wrong with the options: a [settings.Error] where it is one setting's value.
func (o PackOptions) Validate() error {
	if err := settings.Check(o); err != nil {
		return err
	}
	switch {
	case o.Classes && o.Strategy == PackWrapped:
		return settings.Wrong(o, "packing", "would cut texts apart, which have a class each: best_fit, bfd, bfd_split and none do not")
	case o.Classes && !o.IsolateDocuments:
		return settings.Wrong(o, "isolate_documents", "must be true where texts have classes: each has its own")
	case o.Answers && o.Strategy == PackWrapped:
		return settings.Wrong(o, "packing", "would cut answers apart, which are compared: best_fit, bfd, bfd_split and none do not")
	case o.Answers && !o.IsolateDocuments:
		return settings.Wrong(o, "isolate_documents", "must be true where answers are compared: each is of its own prompt")
	case o.DropLast && o.Strategy != PackWrapped:
		return fmt.Errorf("packing.drop_last goes with packing.strategy wrapped, not %s", o.Strategy)
	}
	return nil
}

// PackStats counts what [Pack] did. Tokens = the sequences' tokens + Dropped.
type PackStats struct {
	Docs, Sequences, Tokens, Dropped int64
}

// piece is a run of a document's tokens.
type piece struct{ doc, from, to int }

func (p piece) len() int { return p.to - p.from }

// Pack packs documents, in the order given, and hands each sequence to emit. Documents of different keys never share a sequence; keys come
// in ascending order. Empty documents are passed over.
func Pack(docs []Doc, o PackOptions, emit func(Sequence) error) (PackStats, error) {
	var st PackStats
	if err := o.Validate(); err != nil {
		return st, err
	}
	byKey := map[string][]int{}
	for i := range docs {
		d := &docs[i]
		if d.Labels != nil && len(d.Labels) != len(d.Tokens) {
			return st, fmt.Errorf("document %s: %d labels for %d tokens", d.ID, len(d.Labels), len(d.Tokens))
		}
		if d.Spans != nil && len(d.Spans) != len(d.Tokens) {
			return st, fmt.Errorf("document %s: %d spans for %d tokens", d.ID, len(d.Spans), len(d.Tokens))
		}
		st.Docs++
		st.Tokens += int64(len(d.Tokens))
		if len(d.Tokens) > 0 {
			byKey[d.Key] = append(byKey[d.Key], i)
		}
	}
	keys := make([]string, 0, len(byKey))
	for k := range byKey {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		var rows [][]piece
		switch o.Strategy {
		case PackBFD:
			pieces := splitDocs(docs, byKey[k], o)
			n := 0
			for _, p := range pieces {
				if p.from > 0 {
					st.Dropped += int64(p.len())
					continue
				}
				pieces[n] = p
				n++
			}
			rows = packBFD(pieces[:n], o.SequenceLength)
		case PackBFDSplit:
			rows = packBFD(splitDocs(docs, byKey[k], o), o.SequenceLength)
		case PackWrapped:
			rows = packWrapped(docs, byKey[k], o.SequenceLength)
			if last := len(rows) - 1; o.DropLast && rowLen(rows[last]) < o.SequenceLength {
				st.Dropped += int64(rowLen(rows[last]))
				rows = rows[:last]
			}
		case PackNone:
			for _, p := range splitDocs(docs, byKey[k], o) {
				rows = append(rows, []piece{p})
			}
		}
		for _, r := range rows {
			st.Sequences++
			if err := emit(assemble(docs, r, k, o)); err != nil {
				return st, err
			}
		}
	}
	return st, nil
}

func rowLen(r []piece) int {
	n := 0
	for _, p := range r {
		n += p.len()
	}
	return n
}

// splitDocs cuts documents into pieces of at most SequenceLength tokens.
func splitDocs(docs []Doc, ids []int, o PackOptions) []piece {
	var out []piece
	for _, i := range ids {
		n := len(docs[i].Tokens)
		for from := 0; from < n; {
			to := min(from+o.SequenceLength, n)
			if o.KeepEnds && o.Strategy != PackBFD && to == n-1 && o.SequenceLength > 2 {
				to--
			}
			out = append(out, piece{i, from, to})
			from = to
		}
	}
	return out
}

// packWrapped lays the documents end to end and cuts every length tokens.
func packWrapped(docs []Doc, ids []int, length int) [][]piece {
	var rows [][]piece
	var row []piece
	room := length
	for _, i := range ids {
		for from := 0; from < len(docs[i].Tokens); {
			to := min(from+room, len(docs[i].Tokens))
			row = append(row, piece{i, from, to})
			room -= to - from
			from = to
			if room == 0 {
				rows, row, room = append(rows, row), nil, length
			}
		}
	}
	if len(row) > 0 {
		rows = append(rows, row)
	}
	return rows
}

// assemble builds a row of its pieces.
func assemble(docs []Doc, row []piece, key string, o PackOptions) Sequence {
	n := rowLen(row)
	s := Sequence{
		InputIDs: make([]int32, 0, n), Labels: make([]int32, 0, n), Key: key,
		DocIDs: make([]string, 0, len(row)), DocSpans: make([][2]int32, 0, len(row)), Sources: make([]string, 0, len(row)),
	}
	for i, p := range row {
		d := &docs[p.doc]
		at := len(s.InputIDs)
		s.InputIDs = append(s.InputIDs, d.Tokens[p.from:p.to]...)
		labels := d.Labels
		if labels == nil {
			labels = d.Tokens
		}
		s.Labels = append(s.Labels, labels[p.from:p.to]...)
		if o.IsolateDocuments || i == 0 {
			s.DocStarts = append(s.DocStarts, int32(at))
			if !o.Classes && s.Labels[at] >= NewAnswer {
				s.Labels[at] = NoLoss
			}
		}
		s.DocIDs = append(s.DocIDs, d.ID)
		s.Sources = append(s.Sources, d.Source)
		s.DocSpans = append(s.DocSpans, d.span(p))
		if o.Answers {
			s.answers(at)
		}
	}
	return s
}

// answers divides the last piece of a sequence, which begins at a token, into its documents.
func (s *Sequence) answers(from int) {
	last := len(s.DocIDs) - 1
	for t := from + 1; t < len(s.Labels); t++ {
		if s.Labels[t] >= NoLoss {
			continue
		}
		if s.Labels[t] == NewAnswer {
			s.Labels[t] = NoLoss
		}
		s.DocStarts, s.DocIDs = append(s.DocStarts, int32(t)), append(s.DocIDs, s.DocIDs[last])
		s.Sources, s.DocSpans = append(s.Sources, s.Sources[last]), append(s.DocSpans, s.DocSpans[last])
	}
}

// span is the part of the source text that a piece covers. Tokens that stand for no text have empty spans and do not widen it; a piece of
// such tokens alone has the first one's.
func (d *Doc) span(p piece) [2]int32 {
	var out [2]int32
	if d.Spans == nil {
		return out
	}
	out = d.Spans[p.from]
	first := true
	for _, s := range d.Spans[p.from:p.to] {
		if s[1] <= s[0] {
			continue
		}
		if first {
			out, first = s, false
			continue
		}
		out[0], out[1] = min(out[0], s[0]), max(out[1], s[1])
	}
	return out
}
