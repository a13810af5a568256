package measure

import (
	"context"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/train"
)

// Input is a loaded model and what it is measured on.
type Input struct {
	Model  *infer.Model
	Config Config
	// Domain is held-out text of what is adapted to, General other text, on which forgetting is measured.
	Domain, General Set
	// Origins are the named sources of the domain's files, by file; nil where there are none.
	Origins        map[string]string
	SequenceLength int
	Classes        []string // of a classifier, by number
	Seed           uint64   // of drawn samples
	Chat           bool     // prompts of the settings are what users say: the model learns from conversations, and has a chat template
	// Objective is what is learnt, where a name says it; Start the adapter that training begins with, where it begins with one.
	Objective train.NamedObjective
	Start     *peft.Adapter
	// Say receives what cannot be measured, in whole lines; nil for nobody.
	Say func(format string, a ...any)
	// Row is the measure that is measured now; [Run] sets it.
	Row *Measure

	shown  []Sample // what measures had the model say
	given  []Piece  // of the parts of measures; nil to measure them
	tokens int64    // of the sequences that were read of a part
}

// Set is a set of packed sequences in Parquet shards.
type Set struct {
	Shards []string
	// None says why nothing of a set that there is can be scored; "" where there is no set, and where it has shards.
	None string
}

func (in *Input) say(format string, a ...any) {
	if in.Say != nil {
		in.Say(format, a...)
	}
}

// classifies says whether the model has a head of scores, of classes or of a reward, and no words.
func (in *Input) classifies() bool { return in.Model.Base.Config.Task == "SEQ_CLS" }

// open opens shards for the model's vocabulary.
func (in *Input) open(shards []string) (*train.Shards, error) {
	data, err := train.OpenShards(shards)
	if err != nil {
		return nil, err
	}
	return data.Within(in.Model.Base.Config.Vocab), nil
}

// questions are held-out examples of the domain, as the function of that name takes them.
func (in *Input) questions(limit int, of func(source string) bool) ([]question, error) {
	data, err := in.open(in.Domain.Shards)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	return questions(data, limit, in.SequenceLength, of)
}

// show keeps what the model said to a question, as a sample.
func (in *Input) show(q question, said string) error {
	tk, _, err := in.Model.Text()
	if err == nil {
		in.shown = append(in.shown, Sample{tk.Decode(q.prompt, true), said})
	}
	return err
}

// eachBatch calls f with the sequences of the shards, a batch of the settings at a time, and no more than limit where it is above 0.
func (in *Input) eachBatch(ctx context.Context, shards []string, limit int, f func([]datasets.Sequence) error) error {
	data, err := in.open(shards)
	if err != nil {
		return err
	}
	defer data.Close()
	n, batch := data.Len(), max(in.Config.BatchSize, 1)
	if limit > 0 {
		n = min(n, limit)
	}
	for at := 0; at < n; at += batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		var seqs []datasets.Sequence
		for i := at; i < min(at+batch, n); i++ {
			q, err := data.Sequence(i)
			if err != nil {
				return err
			}
			seqs = append(seqs, q)
			in.tokens += int64(len(q.InputIDs))
		}
		if err := f(seqs); err != nil {
			return err
		}
	}
	return nil
}
