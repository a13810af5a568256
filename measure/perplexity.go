package measure

import (
	"context"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/evaluate"
)

// perplexity scores a language model on held-out text: of the domain, of each named source of it apart, and of other text.
var perplexity = Measure{
	Name:  "perplexity",
	Doc:   "how well a language model predicts held-out text",
	Title: func(*Results) string { return "perplexity" },
	Columns: []Column{
		{Name: "perplexity", Format: "%.2f", Better: Lower, Relative: true},
		{Name: "loss on answers", Format: "%.4f", Better: Lower, Relative: true},
		{Name: "nll", Format: "%.4f", Better: Lower, Show: Alone},
		{Name: "perplexity a word", Format: "%.2f", Better: Lower, Show: Alone},
		{Name: "bits a byte", Format: "%.3f", Better: Lower, Show: Alone},
		{Name: "tokens", Format: "%.0f", Show: Alone},
	},
	When:  func(in *Input) bool { return !in.classifies() },
	Run:   func(ctx context.Context, in *Input, out *Results) error { return in.score(ctx, out) },
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

// score scores the sets.
func (in *Input) score(ctx context.Context, out *Results) error {
	s, err := in.Model.Scorer(max(in.Config.BatchSize, 1) * in.SequenceLength)
	if err != nil {
		return err
	}
	defer s.Close()
	apart := false
	if len(in.Origins) > 0 && len(in.Domain.Shards) > 0 {
		if apart, err = isolated(in.Domain.Shards); err != nil {
			return err
		}
		if !apart {
			in.say("the sources are not scored apart: documents are not isolated (prepare.isolate_documents)")
		}
	}
	if apart {
		out.Domain, out.Sources, err = in.scoreSources(ctx, s)
	} else {
		out.Domain, err = in.scoreSet(ctx, s, &in.Domain, out)
	}
	if err == nil {
		out.General, err = in.scoreSet(ctx, s, &in.General, out)
	}
	return err
}

// scoreSet scores a set; nil where there is none.
func (in *Input) scoreSet(ctx context.Context, s evaluate.Scorer, set *Set, out *Results) (*evaluate.Score, error) {
	if len(set.Shards) == 0 {
		if set.None == "" {
			return nil, nil
		}
		none := evaluate.NoScore(set.None)
		return &none, nil
	}
	tk, _, err := in.Model.Text()
	if err != nil {
		return nil, err
	}
	sum, tokens, silent, docs := 0.0, 0, 0, 0
	var text evaluate.Text
	if err := in.eachBatch(ctx, set.Shards, in.Config.MaxSequences, func(seqs []datasets.Sequence) error {
		for _, q := range seqs {
			silent, docs = silent+len(q.Labels)-q.Supervised(), docs+len(q.DocStarts)
			body := tk.Decode(q.InputIDs, true)
			c := evaluate.CountText(body)
			text.Words, text.Bytes = text.Words+c.Words, text.Bytes+c.Bytes
			if in.opening == "" && set == &in.Domain {
				in.opening = firstWords(body, 8)
			}
		}
		a, b, err := s.NLL(seqs)
		sum, tokens = sum+a, tokens+b
		return err
	}); err != nil {
		return nil, err
	}
	if silent > docs { // part of the text has no loss: its size says nothing
		text = evaluate.Text{}
		out.OnAnswers = out.OnAnswers || set == &in.Domain
	}
	score := evaluate.NewScore(sum, tokens, text)
	return &score, nil
}

func firstWords(s string, n int) string {
	f := strings.Fields(s)
	return strings.Join(f[:min(n, len(f))], " ")
}
