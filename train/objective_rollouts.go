package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/train/preference"
)

// The columns of rollouts, beside the tokens of prompt and answer.
const (
	ColumnOld       = "old_logps"   // log p of each token by the policy that gave the answer
	ColumnRef       = "ref_logps"   // the same by the reference
	ColumnAdvantage = "advantages"  // of each answer
	ColumnLength    = "mean_length" // tokens of an answer of those sampled together, the mean
	ColumnMasked    = "masked"      // 1 for an answer that does not count, because it was cut
)

// Rollouts is what is sampled before a round of training, and how.
type Rollouts struct {
	Prompts   int // of a round; 0 for as many as the steps of a round take
	N         int // answers a prompt
	MaxTokens int // of an answer
	Reference bool
	Documents int  // prompts with an answer that one sequence holds; 0 for 1
	Unscored  bool // nothing goes by rewards
	// Given are the answers that are not sampled: those of the rows, or, of a Teacher, what it samples. Others are the model's own.
	Given Given
	Sample
}

// Given says which prompts have answers that are not the model's own.
type Given struct {
	Share   float64 // of the prompts; 0 for none
	Sampled bool    // by the teacher, not those of the rows
	// Teacher is the adapter over the base that samples them; "" for the base alone.
	Teacher string
}

// Sampler is an objective that learns from answers which the model gives itself. A kind of run samples them, scores them and writes them
// as rows with their log-probabilities; training sees those rows alone.
type Sampler interface {
	Rollouts() Rollouts
}

// Advantaged is a [Sampler] that says what rewards are worth. Rewards are those of each answer, NaN for none, the answers to a prompt one
// after another; kl is the sum over each answer of log(policy/reference), nil where Rollouts asks for no reference. flat says of each
// answer whether its group's rewards are all the same.
type Advantaged interface {
	Sampler
	Advantages(rewards [][]float64, kl []float64) (advantages []float64, flat []bool)
	// Compared are the size of a group and the weights of its rewards.
	Compared() preference.Groups
}

// Sequencer is a [Sampler] that makes its own sequences of a round's answers, in their order, and judges them itself: it sets what is
// missing of the Reward, Advantage and Flat of each.
type Sequencer interface {
	Sampler
	Judge(rows []datasets.Rollout)
	Sequences(rows []datasets.Rollout) Sequences
}

// Sampled says how answers are sampled, under TRL's names.
type Sampled struct {
	Temperature        float64 `json:"temperature" help:"what logits are divided by when answers are sampled, and, of grpo and rloo, in the loss"`
	TopP               float64 `json:"top_p" help:"sample among the likeliest tokens of this probability together"`
	TopK               int     `json:"top_k" help:"sample among the likeliest so many tokens; 0 for all"`
	MinP               float64 `json:"min_p" help:"sample among tokens of at least this share of the likeliest one's probability; 0 for all"`
	RepetitionPenalty  float64 `json:"repetition_penalty" help:"above 1: tokens that were there before become less likely"`
	NumIterations      int     `json:"num_iterations" help:"how often what was sampled is trained on"`
	StepsPerGeneration int     `json:"steps_per_generation" help:"micro-batches that are sampled together; 0 for gradient_accumulation_steps"`
	RolloutWorkers     int     `json:"rollout_workers" help:"workers that a round's answers are sampled by, at a time; changes no result"`
}

// Sample says besides how they are scored.
type Sample struct {
	Sampled
	MaskTruncated bool    `json:"mask_truncated_completions" help:"answers that were cut at their longest do not count"`
	RewardFuncs   Rewards `json:"reward_funcs" help:"what scores answers: names, or settings with a name"`
}

// NewSampled are TRL's defaults at a temperature.
func NewSampled(temperature float64) Sampled {
	return Sampled{Temperature: temperature, TopP: 1, RepetitionPenalty: 1, NumIterations: 1, RolloutWorkers: 1}
}

// NewSample are TRL's defaults.
func NewSample() Sample { return Sample{Sampled: NewSampled(1)} }

// Check says what is wrong with the settings.
func (s *Sampled) Check() (err error) {
	if !(s.Temperature > 0) || math.IsInf(s.Temperature, 0) {
		err = fmt.Errorf("temperature is %g; it must be above 0", s.Temperature)
	}
	if s.NumIterations < 1 {
		err = errors.Join(err, fmt.Errorf("num_iterations is %d; it must be at least 1", s.NumIterations))
	}
	if s.RolloutWorkers < 1 {
		err = errors.Join(err, fmt.Errorf("rollout_workers is %d; it must be at least 1", s.RolloutWorkers))
	}
	if s.StepsPerGeneration < 0 {
		err = errors.Join(err, fmt.Errorf("steps_per_generation is %d; it must be at least 0", s.StepsPerGeneration))
	}
	if !(s.TopP > 0 && s.TopP <= 1) || s.TopK < 0 || !(s.MinP >= 0 && s.MinP <= 1) || !(s.RepetitionPenalty > 0) {
		err = errors.Join(err, fmt.Errorf("top_p is %g, top_k %d, min_p %g and repetition_penalty %g; they must be in (0, 1], at least 0, "+
			"in [0, 1] and above 0", s.TopP, s.TopK, s.MinP, s.RepetitionPenalty))
	}
	return err
}

// Rewards are the settings of reward functions, each with its name.
type Rewards []map[string]any

// weights says that there are weights, and not as many as rewards.
func (r Rewards) weights(w []float64) error {
	if len(w) > 0 && len(r) > 0 && len(w) != len(r) {
		return fmt.Errorf("reward_weights has %d weights for %d of reward_funcs; give as many, or none for 1 each", len(w), len(r))
	}
	return nil
}

// UnmarshalJSON implements json.Unmarshaler: names, and settings with a name, one or a list.
func (r *Rewards) UnmarshalJSON(raw []byte) error {
	var list []any
	if json.Unmarshal(raw, &list) != nil {
		var one any
		if err := json.Unmarshal(raw, &one); err != nil {
			return err
		}
		list = []any{one}
	}
	*r = nil
	for _, x := range list {
		switch x := x.(type) {
		case string:
			*r = append(*r, map[string]any{"name": x})
		case map[string]any:
			*r = append(*r, x)
		default:
			return fmt.Errorf("reward_funcs: %v is neither the name of a reward nor its settings", x)
		}
	}
	return nil
}

// rolloutColumns are the columns that an objective over rollouts reads.
func rolloutColumns(reference, length bool) []Column {
	c := []Column{{Name: ColumnOld, PerToken: true}, {Name: ColumnAdvantage}, {Name: ColumnLength, Optional: !length},
		{Name: ColumnMasked, Optional: true}}
	if reference {
		c = append(c, Column{Name: ColumnRef, PerToken: true})
	}
	return c
}

// rollouts are the answers of a batch. One that does not count has no tokens.
func (b *Batch) rollouts() []preference.Rollout {
	out := make([]preference.Rollout, b.Docs())
	old, ref, masked, length := b.Column(ColumnOld), b.Column(ColumnRef), b.Column(ColumnMasked), b.Column(ColumnLength)
	for d := range out {
		from, to := b.Rows(d)
		a := &out[d]
		a.Advantage = float64(b.Column(ColumnAdvantage)[d])
		if length != nil {
			a.Length = float64(length[d])
		}
		if masked != nil && masked[d] != 0 {
			continue
		}
		a.LogP, a.Old = b.LogP[from:to], old[from:to]
		if ref != nil {
			a.Ref = ref[from:to]
		}
		if b.Step.Stats != nil && b.Step.Stats.Entropy != nil {
			a.Entropy = b.Step.Stats.Entropy[from:to]
		}
	}
	return out
}

// rolloutLoss is a loss over the answers of a batch, whose coefficients it sets.
func (b *Batch) rolloutLoss(items int, coef []float32, loss func(rows []preference.Rollout, slopes [][]float64) float64) float64 {
	rows := b.rollouts()
	slopes := make([][]float64, len(rows))
	for i := range rows {
		slopes[i] = make([]float64, len(rows[i].LogP))
	}
	sum := loss(rows, slopes)
	for d := range rows {
		from, _ := b.Rows(d)
		for k, x := range slopes[d] {
			coef[from+k] = float32(x / float64(items))
		}
	}
	return sum
}

// clipMetrics are those of what is clipped.
var clipMetrics = []string{"clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean", "clip_ratio/low_min",
	"clip_ratio/high_max"}

// noteClips notes them.
func noteClips(m *preference.RolloutMetrics, note note) {
	for i, s := range []preference.Sampled{m.Low, m.High, m.Region} {
		note(clipMetrics[i], s.Sum, s.N)
	}
	if n := m.Low.N; n > 0 && !math.IsInf(m.LowMin, 0) {
		note(clipMetrics[3], m.LowMin*float64(n), n)
		note(clipMetrics[4], m.HighMax*float64(n), n)
	}
}

// noteEntropy notes the mean over the tokens that count.
func noteEntropy(rows []preference.Rollout, note note) {
	for i := range rows {
		sum := 0.0
		for _, x := range rows[i].Entropy {
			sum += float64(x)
		}
		note("entropy", sum, len(rows[i].Entropy))
	}
}
