package train

import (
	"fmt"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/train/preference"
)

// KTO is the objective of Kahneman-Tversky optimisation: see [preference.KTO]. Each row has a label, whether its answer is desirable. The
// divergence from the reference is estimated by each prompt of a micro-batch with the answer of the one before it.
type KTO struct {
	preference.KTO
	MaxLength             int     `json:"max_length" help:"tokens of a prompt with an answer, whose end is cut; 0 for no limit"`
	PrecomputeRefLogProbs bool    `json:"precompute_ref_log_probs" help:"keep what the reference found of a document, which costs 4 bytes a token of an answer, for the epochs after the first: it changes no bit"`
	SyncRefModel          bool    `json:"sync_ref_model" help:"let the reference follow the adapter (TR-DPO)"`
	RefModelMixupAlpha    float64 `json:"ref_model_mixup_alpha" help:"what of the adapter goes into the reference then, from 0 to 1"`
	RefModelSyncSteps     int     `json:"ref_model_sync_steps" help:"after how many steps each time"`

	block int // answers that change prompts with each other; 0 for all of a batch
}

// NewKTO has TRL's defaults.
func NewKTO() *KTO {
	return &KTO{KTO: preference.NewKTO(), MaxLength: 1024, RefModelMixupAlpha: 0.6, RefModelSyncSteps: 512}
}

// Check implements [Checker].
func (o *KTO) Check() error {
	if o.SyncRefModel && o.PrecomputeRefLogProbs {
		return errPrecomputed
	}
	if err := checkSync(o.SyncRefModel, o.RefModelMixupAlpha, o.RefModelSyncSteps); err != nil {
		return err
	}
	return o.KTO.Check()
}

// Spec implements [Objective].
func (o *KTO) Spec() Spec {
	s := Spec{Kind: datasets.KindUnpaired, Reference: true, Entropy: true, MeanLogit: true, NoDropout: true, SharedPrompts: true,
		Whole: o.NeedsKL(), Precompute: o.PrecomputeRefLogProbs,
		Pack: o.pack, Columns: []Column{{Name: datasets.ColumnLabel}}, Metrics: []string{"kl", "entropy",
			"rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected", "logits/chosen", "logits/rejected"}}
	if o.SyncRefModel {
		s.Sync = Sync{o.RefModelSyncSteps, o.RefModelMixupAlpha}
	}
	return s
}

// pack cuts documents.
func (o *KTO) pack(seqs []datasets.Sequence) (*nn.Step, error) {
	if o.MaxLength == 0 {
		return StepFrom(seqs)
	}
	short := make([]datasets.Sequence, len(seqs))
	for i := range seqs {
		if err := seqs[i].Validate(); err != nil {
			return nil, fmt.Errorf("sequence of document %s: %w", first(seqs[i].DocIDs), err)
		}
		short[i] = seqs[i].Cut(o.MaxLength)
	}
	return StepFrom(short)
}

// Items implements [Counter]: it counts answers.
func (*KTO) Items(b *Batch) int { return b.Docs() }

// Prepare implements [Preparer]: it estimates the divergence.
func (o *KTO) Prepare(b *Batch, p *Pass) error {
	b.Kept = 0.0
	if !o.NeedsKL() {
		return nil
	}
	s, ends := o.mismatched(b)
	all := make([]preference.Answer, len(ends))
	add := func(logp []float32, into func(a *preference.Answer) *float64) {
		from := 0
		for d, to := range ends {
			for _, v := range logp[from:to] {
				*into(&all[d]) += float64(v)
			}
			from = to
		}
	}
	add(p.Score(s, p.Slot), func(a *preference.Answer) *float64 { return &a.LogP })
	add(p.Reference(s), func(a *preference.Answer) *float64 { return &a.Ref })
	b.Kept = o.KL(all)
	return nil
}

// mismatched is a step of each prompt with the whole answer of the document before it, that of the first with the last one's, cut as rows
// are, and where the rows of each end. It has as many tokens as the batch's sequences, or fewer.
func (o *KTO) mismatched(b *Batch) (s *nn.Step, ends []int) {
	s = &nn.Step{Index: b.Step.Index}
	n := b.Docs()
	for i := range n {
		start := len(s.Tokens)
		ids, prompt := b.source(i)
		other, answer := b.source(o.before(i, n))
		s.Tokens = append(append(s.Tokens, ids[:prompt]...), other[answer:]...)
		length := len(s.Tokens) - start
		if o.MaxLength > 0 {
			length = min(length, o.MaxLength)
		}
		s.Tokens = s.Tokens[:start+length]
		for t := range length {
			s.Positions = append(s.Positions, int32(t))
			if t >= prompt {
				s.Rows, s.Labels = append(s.Rows, int32(start+t-1)), append(s.Labels, s.Tokens[start+t])
			}
		}
		s.Docs = append(s.Docs, kernels.Doc{Start: int32(start), End: int32(start + length)})
		s.DocIDs = append(s.DocIDs, b.Step.DocIDs[i])
		ends = append(ends, len(s.Rows))
	}
	return s, ends
}

// before is the document whose answer document i of n is compared with.
func (o *KTO) before(i, n int) int {
	if o.block == 0 {
		return (i + n - 1) % n
	}
	from := i / o.block * o.block
	if i > from {
		return i - 1
	}
	return min(from+o.block, n) - 1
}

// Loss implements [Objective].
func (o *KTO) Loss(b *Batch, items int, coef []float32) (sum float64) {
	kl, _ := b.Kept.(float64)
	for d, label := range b.Column(datasets.ColumnLabel) {
		a := b.answer(d, nil)
		loss, slope := o.Row(&a, label > 0, kl)
		sum += loss
		from, to := b.Rows(d)
		for i := from; i < to; i++ {
			coef[i] = float32(slope / float64(items))
		}
	}
	return sum
}

// Measure implements [Measurer]. A batch without answers of one label has no metrics of it.
func (o *KTO) Measure(b *Batch, note func(string, float64, int)) {
	kl, _ := b.Kept.(float64)
	note("kl", kl*float64(b.Docs()), b.Docs())
	b.tokenMean("entropy", b.Step.Stats.Entropy, everyDoc, b.Docs(), note)
	labels, means := b.Column(datasets.ColumnLabel), map[string]float64{}
	for _, side := range []string{"chosen", "rejected"} {
		is := func(doc int) bool { return (labels[doc] > 0) == (side == "chosen") }
		n, rewards, logps := 0, 0.0, 0.0
		for d := range b.Docs() {
			if is(d) {
				a := b.answer(d, nil)
				n, rewards, logps = n+1, rewards+o.Reward(&a), logps+a.LogP
			}
		}
		if n > 0 {
			note("rewards/"+side, rewards, n)
			note("logps/"+side, logps, n)
			b.tokenMean("logits/"+side, b.Step.Stats.MeanLogit, is, n, note)
			means[side] = rewards / float64(n)
		}
	}
	if len(means) == 2 {
		note("rewards/margins", (means["chosen"]-means["rejected"])*float64(b.Docs()), b.Docs())
	}
}
