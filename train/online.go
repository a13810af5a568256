package train

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/train/preference"
)

// A training on answers of the model's own goes in rounds: answers are sampled and scored, joined in a file of rollouts, and trained on for
// some steps. The shards of such a job hold prompts. Which prompts a round takes, and what is sampled, depends on the settings, the seed
// and the adapter at the round's start alone. The files lie in the folder rollouts beside the checkpoints, one a round, and stay there: a
// round is known by the step that it begins at.

// rolloutsDir is the folder of rollouts.
const rolloutsDir = "rollouts"

// Online is what a job does in rounds of rollouts.
type Online struct {
	Rollouts
	Answers int // of a round
	Rows    int // sequences of a round, made of them
	Steps   int // of the optimiser, of a round

	objective Sampler // an [Advantaged] or a [Sequencer]
}

// Online is how the job goes in rounds of rollouts; nil for one whose objective learns from the shards.
func (j *Job) Online() (*Online, error) {
	if j.Objective == "" {
		return nil, nil
	}
	o, err := NewObjective(j.Objective, j.ObjectiveArgs)
	if err != nil {
		return nil, err
	}
	s, ok := o.(Sampler)
	if !ok {
		return nil, nil
	}
	return newOnline(s, &j.Args)
}

func newOnline(o Sampler, a *Args) (*Online, error) {
	r := &Online{objective: o, Rollouts: o.Rollouts()}
	micro := cmp.Or(r.StepsPerGeneration, a.GradientAccumulationSteps)
	if micro%a.GradientAccumulationSteps != 0 {
		return nil, fmt.Errorf("steps_per_generation is %d; it must be a multiple of gradient_accumulation_steps, %d", micro,
			a.GradientAccumulationSteps)
	}
	docs := max(1, r.Documents)
	r.Rows, r.Steps = a.PerDeviceTrainBatchSize*a.Replicas*micro, r.NumIterations*micro/a.GradientAccumulationSteps
	r.Answers = docs * r.Rows
	if r.Answers%r.N != 0 {
		return nil, fmt.Errorf("num_generations is %d; it must divide the answers that are sampled together, %d: "+
			"per_device_train_batch_size %d times %d replicas times steps_per_generation %d", r.N, r.Answers, a.PerDeviceTrainBatchSize,
			a.Replicas, micro)
	}
	if r.Prompts = r.Answers / r.N; a.Mode == "local" && a.Replicas > 1 {
		return nil, errors.New("mode local: answers are sampled for all replicas at once; set mode to sync")
	}
	return r, nil
}

// Parts are the parts of a round that workers sample.
func (o *Online) Parts() int { return min(max(1, o.RolloutWorkers), o.Prompts) }

// boundary is the step at which the round that goes on at a step ends.
func (o *Online) boundary(step, total int) int { return min(total, (step/o.Steps+1)*o.Steps) }

// Prompt is a prompt that answers are sampled to.
type Prompt struct {
	Index int // of its round
	DocID string
	IDs   []int32
	Right []int32 // what a right answer would be
}

// prompts reads the prompts of shards.
func prompts(data *Shards) (out []Prompt, err error) {
	for i := range data.Len() {
		q, err := data.Sequence(i)
		if err != nil {
			return nil, err
		}
		for d := range q.DocStarts {
			from, to := q.Document(d)
			at := q.Answer(d)
			out = append(out, Prompt{DocID: q.DocIDs[d], IDs: q.InputIDs[from:at], Right: q.InputIDs[at:to]})
		}
	}
	return out, nil
}

// ReadPrompts reads the prompts of shards of prompts.
func ReadPrompts(paths []string) ([]Prompt, error) {
	s, err := OpenShards(paths)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for _, f := range s.shards {
		if k := f.Meta().Kind; k != datasets.KindPrompt {
			return nil, fmt.Errorf("%s holds rows of the kind %s, and answers are sampled to prompts: prepare the data again", f.Path(), k)
		}
	}
	return prompts(s)
}

// openOnline reads the session's prompts, and says how many steps the training has.
func (s *Session) openOnline() (err error) {
	if s.Online, err = s.job.Online(); err != nil || s.Online == nil {
		return err
	}
	if s.prompts, err = prompts(s.data); err != nil {
		return err
	}
	if a := &s.job.Args; a.MaxSteps <= 0 {
		rounds := math.Ceil(a.NumTrainEpochs * float64(len(s.prompts)) / float64(s.Online.Prompts))
		a.MaxSteps = max(1, int(rounds)) * s.Online.Steps
	}
	return nil
}

// RoundPrompts are the prompts of the round that begins at a step: those of each epoch in an order of their own, one round after another.
func (s *Session) RoundPrompts(step int) []Prompt {
	n := len(s.prompts)
	out := make([]Prompt, s.Online.Prompts)
	epoch, order := -1, []int(nil)
	for i := range out {
		k := step/s.Online.Steps*s.Online.Prompts + i
		if k/n != epoch {
			epoch = k / n
			order = philox.NewKey(s.job.Args.Seed, "prompts", fmt.Sprint(epoch)).Permutation(n)
		}
		out[i] = s.prompts[order[k%n]]
		out[i].Index = i
	}
	return out
}

// Pool are the session's threads.
func (s *Session) Pool() *pool.Pool { return s.pool }

// Job is the session's job as it is on this machine.
func (s *Session) Job() *Job { return &s.job }

func roundFileOf(step int) string {
	return filepath.Join(rolloutsDir, fmt.Sprintf("round-%06d.parquet", step))
}

// HasRollouts says whether the rollouts of the round that begins at a step are there.
func (s *Session) HasRollouts(step int) (bool, error) { return s.job.has(roundFileOf(step)) }

// SaveRollouts writes a part of the rollouts of the round that begins at a step.
func (s *Session) SaveRollouts(step, part int, rows []datasets.Rollout) (FileRef, error) {
	rel := filepath.Join(rolloutsDir, fmt.Sprintf("round-%06d-part-%03d.parquet", step, part))
	if err := datasets.WriteRollouts(filepath.Join(s.job.Dir, rel), s.binding, rows); err != nil {
		return FileRef{}, err
	}
	return s.refer(rel)
}

// JoinRollouts makes of its parts the rollouts of the round that begins at a step, with what their rewards are worth.
func (s *Session) JoinRollouts(step int, refs []FileRef) error {
	if done, err := s.HasRollouts(step); done || err != nil {
		return err
	}
	var rows []datasets.Rollout
	for _, r := range refs {
		if err := s.job.down(r.Path, r.SHA256); err != nil {
			return err
		}
		part, err := datasets.ReadRollouts(filepath.Join(s.job.Dir, r.Path), s.binding)
		if err != nil {
			return err
		}
		rows = append(rows, part...)
	}
	slices.SortFunc(rows, func(a, b datasets.Rollout) int {
		return cmp.Or(cmp.Compare(a.Prompt, b.Prompt), cmp.Compare(a.Sample, b.Sample))
	})
	for i, x := range rows {
		if int(x.Prompt) != i/s.Online.N || int(x.Sample) != i%s.Online.N {
			return fmt.Errorf("the round from step %d: answer %d of prompt %d stands where answer %d of prompt %d should", step, x.Sample,
				x.Prompt, i%s.Online.N, i/s.Online.N)
		}
	}
	if len(rows) != s.Online.Answers {
		return fmt.Errorf("the round from step %d has %d answers of %d", step, len(rows), s.Online.Answers)
	}
	s.Online.judge(rows)
	rel := roundFileOf(step)
	if err := datasets.WriteRollouts(filepath.Join(s.job.Dir, rel), s.binding, rows); err != nil {
		return err
	}
	if err := s.job.up(rel); err != nil {
		return err
	}
	for _, r := range refs {
		if err := os.Remove(filepath.Join(s.job.Dir, r.Path)); err != nil && !os.IsNotExist(err) {
			return err
		}
		if s.job.Location != "" {
			if err := storage.Remove(s.job.at(r.Path)); err != nil {
				return err
			}
		}
	}
	return nil
}

// judge says what the rewards of a round's answers are worth.
func (o *Online) judge(rows []datasets.Rollout) {
	rewards, kl := make([][]float64, len(rows)), []float64(nil)
	if o.Reference {
		kl = make([]float64, len(rows))
	}
	if q, ok := o.objective.(Sequencer); ok {
		q.Judge(rows)
		return
	}
	a := o.objective.(Advantaged)
	groups := a.Compared()
	for i := range rows {
		x := &rows[i]
		rewards[i] = x.Rewards
		x.Reward = groups.Total(x.Rewards)
		for k, ref := range x.RefLogps {
			kl[i] += float64(x.OldLogps[k]) - float64(ref)
		}
	}
	advantages, flat := a.Advantages(rewards, kl)
	for i := range rows {
		rows[i].Advantage, rows[i].Flat = advantages[i], flat[i]
	}
}

// sequences are the rows that a round trains on.
func (o *Online) sequences(rows []datasets.Rollout) (out Sequences) {
	if q, ok := o.objective.(Sequencer); ok {
		return q.Sequences(rows)
	}
	tokens := 0
	for i := range rows {
		tokens += len(rows[i].CompletionIDs)
	}
	mean := float32(tokens) / float32(max(1, len(rows)))
	for i := range rows {
		x := &rows[i]
		q := datasets.Sequence{DocStarts: []int32{0}, DocIDs: []string{fmt.Sprintf("%s/%d", x.DocID, x.Sample)},
			DocSpans: [][2]int32{{0, 1}}, Sources: []string{""}}
		q.InputIDs = slices.Concat(x.PromptIDs, x.CompletionIDs)
		column := func(of []float32) []float32 { return append(make([]float32, len(x.PromptIDs)), of...) }
		for range x.PromptIDs {
			q.Labels = append(q.Labels, datasets.NoLoss)
		}
		q.Labels = append(q.Labels, x.CompletionIDs...)
		q.Values = map[string][]float32{ColumnOld: column(x.OldLogps), ColumnAdvantage: {float32(x.Advantage)}, ColumnLength: {mean},
			ColumnMasked: {0}}
		if len(x.RefLogps) > 0 {
			q.Values[ColumnRef] = column(x.RefLogps)
		}
		if x.Truncated && o.MaskTruncated {
			q.Values[ColumnMasked][0] = 1
		}
		out = append(out, q)
	}
	return out
}

// learning is what a step is trained on: the shards, or the rollouts of its round.
func (s *Session) learning(step int) (Data, error) {
	if s.Online == nil {
		return s.data, nil
	}
	begin := step / s.Online.Steps * s.Online.Steps
	if s.rolled != nil && s.rolledAt == begin {
		return s.rolled, nil
	}
	rel := roundFileOf(begin)
	if err := s.job.down(rel, ""); err != nil {
		return nil, err
	}
	rows, err := datasets.ReadRollouts(filepath.Join(s.job.Dir, rel), s.binding)
	if err != nil {
		return nil, err
	}
	s.rolled, s.rolledAt, s.sampled = s.Online.sequences(rows), begin, RolloutMetrics(rows, s.Online.RewardFuncs.Names())
	return s.rolled, nil
}

// noteRollouts adds what a round sampled to the metrics of its first step.
func (s *Session) noteRollouts(info *StepInfo) error {
	if s.Online == nil || (info.Step-1)%s.Online.Steps != 0 {
		return nil
	}
	if _, err := s.learning(info.Step - 1); err != nil {
		return err
	}
	if info.Metrics == nil {
		info.Metrics = map[string]float64{}
	}
	for k, v := range s.sampled {
		info.Metrics[k] = v
	}
	return nil
}

// Names are those under which rewards are reported.
func (r Rewards) Names() (out []string) {
	for _, x := range r {
		name, _ := x["as"].(string)
		if name == "" {
			name, _ = x["name"].(string)
		}
		out = append(out, name)
	}
	return out
}

// RolloutMetrics are what TRL tells of answers that were sampled and scored, by name; what is over nothing is left out. names are those of
// the reward functions.
func RolloutMetrics(rows []datasets.Rollout, names []string) map[string]float64 {
	out := map[string]float64{}
	put := func(name string, v float64) {
		if !math.IsNaN(v) {
			out[name] = v
		}
	}
	of := func(f func(x *datasets.Rollout) float64) []float64 {
		x := make([]float64, len(rows))
		for i := range rows {
			x[i] = f(&rows[i])
		}
		return x
	}
	for k, name := range names {
		mean, std := preference.Moments(of(func(x *datasets.Rollout) float64 { return x.Rewards[k] }))
		put("rewards/"+name+"/mean", mean)
		put("rewards/"+name+"/std", std)
	}
	mean, std := preference.Moments(of(func(x *datasets.Rollout) float64 { return x.Reward }))
	put("reward", mean)
	put("reward_std", std)
	count := func(f func(x *datasets.Rollout) bool) float64 {
		n := 0
		for i := range rows {
			if f(&rows[i]) {
				n++
			}
		}
		return float64(n) / float64(max(1, len(rows)))
	}
	put("frac_reward_zero_std", count(func(x *datasets.Rollout) bool { return x.Flat }))
	put("completions/clipped_ratio", count(func(x *datasets.Rollout) bool { return x.Truncated }))
	for name, take := range map[string]func(x *datasets.Rollout) bool{"length": func(*datasets.Rollout) bool { return true },
		"terminated_length": func(x *datasets.Rollout) bool { return !x.Truncated }} {
		least, most, sum, n := 0, 0, 0, 0
		for i := range rows {
			if k := len(rows[i].CompletionIDs); take(&rows[i]) {
				if n == 0 || k < least {
					least = k
				}
				most, sum, n = max(most, k), sum+k, n+1
			}
		}
		put("completions/mean_"+name, float64(sum)/float64(max(1, n)))
		put("completions/min_"+name, float64(least))
		put("completions/max_"+name, float64(most))
	}
	return out
}
