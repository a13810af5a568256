package pipelines

import (
	"context"
	"fmt"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/nn"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// Eval is a model's scores on the evaluation sets, and its continuations of the prompts.
type Eval struct {
	Domain  *evaluate.Score `json:"domain,omitempty"`
	General *evaluate.Score `json:"general,omitempty"`
	Classes *ClassScore     `json:"classification,omitempty"`
	// OnAnswers: the score of Domain is on answers alone, as the labels of its rows say.
	OnAnswers bool            `json:"on_answers,omitempty"`
	Answers   *evaluate.Match `json:"answers,omitempty"` // of held-out questions
	Samples   []Sample        `json:"samples,omitempty"`
	// Translation is of all held-out rows, where there are no named sources.
	Translation *Translation  `json:"translation,omitempty"`
	Sources     []SourceScore `json:"sources,omitempty"` // of named sources; Domain is all of them together
}

// Sample is a continuation of a prompt.
type Sample struct {
	Prompt string `json:"prompt"`
	Text   string `json:"text"`
}

// Evaluate scores the base with the adapters (none: the base alone) on the evaluation sets and lets it continue the prompts.
func (r *Run) Evaluate(ctx context.Context, d *Data, adapters []nn.Adapter, params *nn.Params) (*Eval, error) {
	if r.Recipe.Classifies() {
		c, err := r.classify(ctx, d.Domain, adapters, params)
		return &Eval{Classes: c}, err
	}
	e := r.Recipe.Evaluate
	batch := max(e.BatchSize, 1)
	m := r.answering(adapters, params)
	s, err := m.Scorer(batch * r.Recipe.Prepare.SequenceLength)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	out := &Eval{}
	var prompt string
	domain := d.Domain
	if len(d.Origins) > 0 && len(d.Domain) > 0 {
		apart, err := isolated(d.Domain)
		if err != nil {
			return nil, err
		}
		if apart {
			if out.Domain, out.Sources, err = r.scoreSources(ctx, d, s); err != nil {
				return nil, err
			}
			domain = nil
		} else {
			r.say("the sources are not scored apart: documents are not isolated (prepare.isolate_documents)")
		}
	}
	for _, set := range []struct {
		shards []prepare.ShardRef
		to     **evaluate.Score
		from   *prepare.Result
	}{{domain, &out.Domain, d.domain}, {d.General, &out.General, d.general}} {
		if len(set.shards) == 0 {
			if set.from != nil && len(set.from.Train) == 0 {
				none := evaluate.NoScore(fmt.Sprintf("no token of its %d records has a loss (%s)", set.from.Read, prepare.Reasons(set.from.Rejected)))
				*set.to = &none
			}
			continue
		}
		sum, tokens, silent, docs := 0.0, 0, 0, 0
		var text evaluate.Text
		if err := eachBatch(ctx, r.model.Config.Vocab, set.shards, e.MaxSequences, batch, func(seqs []datasets.Sequence) error {
			for _, q := range seqs {
				silent, docs = silent+len(q.Labels)-q.Supervised(), docs+len(q.DocStarts)
				body := r.tokenizer.Decode(q.InputIDs, true)
				c := evaluate.CountText(body)
				text.Words, text.Bytes = text.Words+c.Words, text.Bytes+c.Bytes
				if prompt == "" && set.to == &out.Domain {
					prompt = firstWords(body, 8)
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
			out.OnAnswers = out.OnAnswers || set.to == &out.Domain
		}
		score := evaluate.NewScore(sum, tokens, text)
		*set.to = &score
	}
	prompts := e.Prompts
	if e.ExactMatch+e.ChrF > 0 && len(d.Domain) > 0 {
		samples, err := r.generated(ctx, d, out, m)
		if err != nil {
			return nil, err
		}
		if len(samples) > 0 && len(prompts) == 0 {
			out.Samples, prompt = append(out.Samples, samples...), ""
		}
	}
	if len(prompts) == 0 && prompt != "" {
		prompts = []string{prompt}
	}
	if e.MaxNewTokens == 0 {
		prompts = nil
	}
	for _, p := range prompts {
		c, err := m.Generate(p, evaluate.Sampling{DoSample: e.DoSample, Temperature: e.Temperature, TopK: e.TopK, TopP: e.TopP,
			RepetitionPenalty: e.RepetitionPenalty, MaxNewTokens: e.MaxNewTokens, Seed: r.Recipe.Train.Seed}, nil)
		if err != nil {
			return nil, err
		}
		out.Samples = append(out.Samples, Sample{p, c.Text})
	}
	return out, nil
}

// generated measures answers and translations of held-out rows, and returns a sample of each kind.
func (r *Run) generated(ctx context.Context, d *Data, out *Eval, m *infer.Model) (samples []Sample, err error) {
	var paths []string
	for _, x := range d.Domain {
		paths = append(paths, x.Path)
	}
	data, err := core.OpenShards(paths)
	if err != nil {
		return nil, err
	}
	defer data.Within(r.model.Config.Vocab).Close()
	if r.Recipe.Evaluate.ExactMatch > 0 {
		match, sample, err := r.answer(ctx, data, m)
		if err != nil {
			return nil, err
		}
		if out.Answers = match; sample != nil {
			samples = append(samples, *sample)
		}
	}
	if r.Recipe.Evaluate.ChrF == 0 {
		return samples, nil
	}
	wanted := map[string]**Translation{"": &out.Translation} // by the source's name
	if len(out.Sources) > 0 {
		wanted = map[string]**Translation{}
	}
	for i := range out.Sources {
		wanted[out.Sources[i].Name] = &out.Sources[i].Translation
	}
	some := false
	for _, name := range sortedKeys(wanted) {
		t, sample, err := r.translate(ctx, data, d.Origins, name, m)
		if err != nil {
			return nil, err
		}
		if *wanted[name] = t; t != nil {
			samples, some = append(samples, *sample), true
		}
	}
	if !some {
		r.say("chrF is not measured: no held-out row has a prompt and a completion within sequence_length (%d)", r.Recipe.Prepare.SequenceLength)
	}
	return samples, nil
}

// eachBatch calls f with the sequences of the shards, which are for a vocabulary, batch at a time, and no more than limit where it is above 0.
func eachBatch(ctx context.Context, vocab int, shards []prepare.ShardRef, limit, batch int, f func([]datasets.Sequence) error) error {
	var paths []string
	for _, s := range shards {
		paths = append(paths, s.Path)
	}
	data, err := core.OpenShards(paths)
	if err != nil {
		return err
	}
	defer data.Within(vocab).Close()
	n := data.Len()
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
		}
		if err := f(seqs); err != nil {
			return err
		}
	}
	return nil
}

func firstWords(s string, n int) string {
	f := strings.Fields(s)
	return strings.Join(f[:min(n, len(f))], " ")
}

// answering is the run's model with adapters over it, or with none.
func (r *Run) answering(adapters []nn.Adapter, params *nn.Params) *infer.Model {
	return &infer.Model{Dir: r.modelDir, Base: r.model, Adapters: adapters, Params: params, Pool: r.pool, Tokenizer: r.tokenizer, Frame: r.frame,
		Framed: !r.before}
}
