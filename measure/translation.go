package measure

import (
	"context"
	"fmt"
	"strings"

	"github.com/adaptflow/adaptflow/evaluate"
)

// translation lets the model complete held-out prompts greedily and scores the completions by chrF against the right ones: of
// each named source where the sources are scored apart, else of all rows.
var translation = Measure{
	Name:  "translation",
	Doc:   "how generated completions of held-out prompts agree with the right ones",
	Title: func(*Results) string { return "chrF" },
	Columns: []Column{
		{Name: "chrF", Format: "%.2f", Better: Higher},
		{Name: "chrF++", Format: "%.2f", Better: Higher, Show: OnPage},
	},
	When: func(in *Input) bool { return in.Config.ChrF > 0 && !in.classifies() && len(in.Domain.Shards) > 0 },
	Run: func(ctx context.Context, in *Input, out *Results) error {
		some := false
		one := func(name string) (*Translation, error) {
			t, err := in.translate(ctx, name)
			some = some || t != nil
			return t, err
		}
		var err error
		if len(out.Sources) == 0 {
			out.Translation, err = one("")
		}
		for i := range out.Sources { // in the order of their names
			if err == nil {
				out.Sources[i].Translation, err = one(out.Sources[i].Name)
			}
		}
		if err == nil && !some {
			in.say("chrF is not measured: no held-out row has a prompt and a completion within sequence_length (%d)", in.SequenceLength)
		}
		return err
	},
	Lines: func(r *Results) (out []Line) {
		line := func(name string, t *Translation) {
			if t != nil {
				out = append(out, Line{Name: fmt.Sprintf("%s (of %d)", name, t.Pairs), Card: "chrF of " + name,
					Of: fmt.Sprintf("of %d completions", t.Pairs), Numbers: Numbers{"chrF": t.ChrF, "chrF++": t.ChrFP}})
			}
		}
		for _, s := range r.Sources {
			line(s.Name, s.Translation)
		}
		line("completions", r.Translation)
		return out
	},
}

// Translation is how generated completions agree with the right ones: sacrebleu's corpus scores, from 0 to 100.
type Translation struct {
	Pairs int     `json:"pairs"`
	ChrF  float64 `json:"chrf"`   // chrF2
	ChrFP float64 `json:"chrf++"` // chrF2++
}

// TranslationChange is the agreement of generated completions before and after training.
type TranslationChange struct {
	Before *Translation `json:"before"`
	After  *Translation `json:"after"`
}

// translate completes held-out prompts of a named source ("" for all); nil where the source has no prompts. A right completion
// of one line is compared with the first line of a generated one, as few-shot harnesses cut what a base model says.
func (in *Input) translate(ctx context.Context, name string) (*Translation, error) {
	qs, err := in.questions(in.Config.ChrF, func(source string) bool { return name == "" || in.Origins[source] == name })
	if err != nil || len(qs) == 0 {
		return nil, err
	}
	got, want, err := in.complete(ctx, qs)
	if err != nil {
		return nil, err
	}
	refs := make([][]string, len(want))
	for i, w := range want {
		w = strings.TrimSpace(w)
		if got[i] = strings.TrimSpace(got[i]); !strings.Contains(w, "\n") {
			got[i], _, _ = strings.Cut(got[i], "\n")
		}
		refs[i] = []string{w}
	}
	if err := in.show(qs[0], got[0]); err != nil {
		return nil, err
	}
	return &Translation{Pairs: len(qs), ChrF: evaluate.NewChrF().Corpus(got, refs),
		ChrFP: evaluate.NewChrFPlusPlus().Corpus(got, refs)}, nil
}
