package measure

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/internal/progress"
)

// perplexity scores a language model on held-out text: of the domain, of each named source of it apart, and of other text.
var perplexity = Measure{
	Name:  PerplexityName,
	Doc:   "how well a language model predicts held-out text",
	Title: func(*Results) string { return "perplexity" },
	Columns: []Column{
		{Name: "perplexity", Format: "%.2f", Better: Lower, Relative: true},
		{Name: "loss on answers", Format: "%.4f", Better: Lower, Relative: true},
		{Name: "nll", Format: "%.4f", Better: Lower, Show: Alone},
		{Name: "perplexity a byte", Format: "%.3f", Better: Lower, Relative: true, Show: OnPage},
		{Name: "perplexity a word", Format: "%.2f", Better: Lower, Show: Alone},
		{Name: "bits a byte", Format: "%.3f", Better: Lower, Show: Alone},
		{Name: "tokens", Format: "%.0f", Show: Alone},
	},
	When:  func(in *Input) bool { return !in.classifies() },
	Run:   func(ctx context.Context, in *Input, out *Results) error { return in.score(ctx, out) },
	Parts: (*Input).scoreParts,
	Part:  func(ctx context.Context, in *Input, p Part) (any, error) { return in.scorePart(ctx, p) },
	Lines: perplexityLines,
}

func perplexityLines(r *Results) (out []Line) {
	line := func(name, card string, s *evaluate.Score) {
		if s == nil {
			return
		}
		l := Line{Name: name, Card: card, Note: s.Reason,
			Numbers: Numbers{"perplexity": s.Perplexity, "nll": s.NLL, "tokens": float64(s.Tokens)}}
		if s.WordPerplexity > 0 {
			l.Numbers["perplexity a word"] = s.WordPerplexity
		}
		if s.BytePerplexity > 0 {
			l.Numbers["perplexity a byte"] = s.BytePerplexity
		}
		if s.BitsPerByte > 0 {
			l.Numbers["bits a byte"] = s.BitsPerByte
		}
		out = append(out, l)
	}
	for _, s := range r.Sources {
		line(s.Title(), "perplexity of "+s.Title(), s.Score)
	}
	switch {
	case len(r.Sources) > 0:
		line("all of these", "domain perplexity", r.Domain)
	case r.OnAnswers:
		line("answers (held-out)", "perplexity of answers", r.Domain)
	default:
		line("domain", "domain perplexity", r.Domain)
	}
	line("general (forgetting)", "general perplexity", r.General)
	if r.OnAnswers && r.Domain != nil {
		out = append(out, Line{Name: "loss on answers", Numbers: Numbers{"loss on answers": r.Domain.NLL}})
	}
	return out
}

// scored is what was scored of a part: of the named source Name, or of all where the sources are not scored apart. NLL is summed in the
// order of the sequences; the other numbers are counts.
type scored struct {
	Name   string        `json:"name,omitempty"`
	NLL    float64       `json:"nll"`
	Tokens int           `json:"tokens"` // that are predicted
	Seen   int           `json:"seen"`   // that were read
	Silent int           `json:"silent"` // those without a loss
	Docs   int           `json:"docs"`
	Text   evaluate.Text `json:"text"`
}

// add adds what was scored of a later part.
func (s *scored) add(o *scored) {
	s.NLL += o.NLL
	s.Tokens, s.Seen, s.Silent, s.Docs = s.Tokens+o.Tokens, s.Seen+o.Seen, s.Silent+o.Silent, s.Docs+o.Docs
	s.Text.Words, s.Text.Bytes = s.Text.Words+o.Text.Words, s.Text.Bytes+o.Text.Bytes
}

// read counts a sequence that is scored.
func (s *scored) read(q *datasets.Sequence, body string) {
	s.Seen, s.Docs = s.Seen+len(q.InputIDs), s.Docs+len(q.DocStarts)
	s.Silent += len(q.Labels) - q.Supervised()
	c := evaluate.CountText(body)
	s.Text.Words, s.Text.Bytes = s.Text.Words+c.Words, s.Text.Bytes+c.Bytes
}

// onAnswers: part of the text has no loss, so that its size says nothing.
func (s *scored) onAnswers() bool { return s.Silent > s.Docs }

// score is the score of the sum.
func (s *scored) score() *evaluate.Score {
	text := s.Text
	if s.onAnswers() {
		text = evaluate.Text{}
	}
	score := evaluate.NewScore(s.NLL, s.Tokens, text)
	return &score
}

// scoreParts are the shards of the two sets. Named sources whose sequences are limited, each apart, are one part: how many of each there
// are in a shard is not known before it is read.
func (in *Input) scoreParts() (out []Part, err error) {
	apart, err := in.apart()
	if err != nil {
		return nil, err
	}
	if apart && in.Config.MaxSequences > 0 {
		out = []Part{{Set: SetDomain, Shard: -1}}
	} else if out, err = in.byShard(SetDomain); err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Apart = apart
	}
	general, err := in.byShard(SetGeneral)
	return append(out, general...), err
}

// scorePart scores a part.
func (in *Input) scorePart(ctx context.Context, p Part) ([]*scored, error) {
	s, err := in.Model.Scorer(max(in.Config.BatchSize, 1) * in.SequenceLength)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	shards, err := in.shards(p)
	if err != nil {
		return nil, err
	}
	if p.Apart {
		return in.scoreSources(ctx, s, shards)
	}
	tk, _, err := in.Model.Text()
	if err != nil {
		return nil, err
	}
	sum := &scored{}
	return []*scored{sum}, in.eachBatch(ctx, shards, p.Limit, func(seqs []datasets.Sequence) error {
		for i := range seqs {
			sum.read(&seqs[i], tk.Decode(seqs[i].InputIDs, true))
		}
		nll, tokens, err := s.NLL(seqs)
		progress.Add(progress.Scored, int64(tokens))
		sum.NLL, sum.Tokens = sum.NLL+nll, sum.Tokens+tokens
		return err
	})
}

// PerplexityName names the measure of perplexity in a [Part].
const PerplexityName = "perplexity"

// SumPerplexity is the score of the parts of a set, of which [RunPart] found pieces of the measure of perplexity, in the order of their
// numbers. Named sources are not scored apart.
func SumPerplexity(pieces []Piece) (*evaluate.Score, error) {
	pieces = slices.Clone(pieces)
	slices.SortFunc(pieces, func(a, b Piece) int { return a.Part.Number - b.Part.Number })
	sum := &scored{}
	for _, p := range pieces {
		all, err := found[[]*scored](p)
		if err != nil {
			return nil, err
		}
		for _, s := range all {
			sum.add(s)
		}
	}
	return sum.score(), nil
}

// score puts the parts together.
func (in *Input) score(ctx context.Context, out *Results) error {
	apart, err := in.apart()
	if err != nil {
		return err
	}
	if !apart && len(in.Origins) > 0 && len(in.Domain.Shards) > 0 {
		in.say("the sources are not scored apart: documents are not isolated (prepare.isolate_documents)")
	}
	pieces, err := in.Pieces(ctx)
	if err != nil {
		return err
	}
	sums := map[[2]string]*scored{} // by set and source
	for _, p := range pieces {
		all, err := found[[]*scored](p)
		if err != nil {
			return err
		}
		for _, s := range all {
			key := [2]string{p.Part.Set, s.Name}
			if sums[key] == nil {
				sums[key] = &scored{Name: s.Name}
			}
			sums[key].add(s)
		}
	}
	if apart {
		out.Domain, out.Sources = in.sources(func(name string) *scored { return sums[[2]string{SetDomain, name}] })
	} else if s := sums[[2]string{SetDomain, ""}]; s != nil {
		out.Domain, out.OnAnswers = s.score(), s.onAnswers()
	} else {
		out.Domain = in.Domain.none()
	}
	if s := sums[[2]string{SetGeneral, ""}]; s != nil {
		out.General = s.score()
	} else {
		out.General = in.General.none()
	}
	return nil
}

// none is the score of a set without shards: nil where there is no set.
func (s *Set) none() *evaluate.Score {
	if s.None == "" {
		return nil
	}
	none := evaluate.NoScore(s.None)
	return &none
}

// opening is the beginning of the domain's first document that shows something; "" where its sources are scored apart.
func (in *Input) opening(ctx context.Context) (words string, err error) {
	if apart, err := in.apart(); err != nil || apart || len(in.Domain.Shards) == 0 {
		return "", err
	}
	tk, _, err := in.Model.Text()
	if err != nil {
		return "", err
	}
	err = in.eachBatch(ctx, in.Domain.Shards, in.Config.MaxSequences, func(seqs []datasets.Sequence) error {
		for i := range seqs {
			if words = firstWords(tk.Decode(seqs[i].InputIDs, true), 8); words != "" {
				return errEnough
			}
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return words, err
}

// errEnough ends a walk over batches.
var errEnough = errors.New("enough")

func firstWords(s string, n int) string {
	f := strings.Fields(s)
	return strings.Join(f[:min(n, len(f))], " ")
}
