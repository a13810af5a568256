package measure

import (
	"context"
	"fmt"

	"github.com/adaptflow/adaptflow/evaluate"
)

// answers lets the model answer held-out questions greedily and compares what it says with the right answers.
var answers = Measure{
	Name: "answers",
	Doc:  "how often held-out questions are answered rightly, and how well the words of the answers agree",
	Columns: []Column{
		{Name: "exact match", Better: Higher, Percent: true},
		{Name: "F1 of the answer", Better: Higher, Percent: true},
	},
	When: func(in *Input) bool { return in.Config.ExactMatch > 0 && !in.classifies() && len(in.Domain.Shards) > 0 },
	Run: func(ctx context.Context, in *Input, out *Results) error {
		qs, err := in.questions(in.Config.ExactMatch, nil)
		if err != nil {
			return err
		}
		if len(qs) == 0 {
			in.say("exact match is not measured: no held-out row has a prompt and an answer within sequence_length (%d)", in.SequenceLength)
			return nil
		}
		got, want, err := in.complete(ctx, qs)
		if err != nil {
			return err
		}
		m, err := evaluate.NewMatch(got, want, in.Config.AnswerDelimiter, in.Config.AnswerMatch)
		if err != nil {
			return err
		}
		out.Answers = &m
		return in.show(qs[0], got[0])
	},
	Lines: func(r *Results) []Line {
		m := r.Answers
		if m == nil {
			return nil
		}
		of := fmt.Sprintf("of %d questions", m.Questions)
		lines := []Line{{Name: fmt.Sprintf("exact match (of %d)", m.Questions), Card: "exact match", Of: of,
			Numbers: Numbers{"exact match": m.ExactMatch}}}
		if m.Rule != evaluate.MatchNumber {
			lines = append(lines, Line{Numbers: Numbers{"F1 of the answer": m.F1}})
		}
		return lines
	},
}

// MatchChange is how generated answers agreed with the right ones before and after training.
type MatchChange struct {
	Before *evaluate.Match `json:"before"`
	After  *evaluate.Match `json:"after"`
}
