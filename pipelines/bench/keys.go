package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/usage"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/train"
)

// KeysConfig says what `adaptflow bench keys` measures: adapters by key trained in groups, beside the same keys trained one after another
// with the model loaded once.
type KeysConfig struct {
	ConfigPath  string // config.json of a shape, with random weights; "" for the embedded English model
	DType       string // fp32, bf16 or auto, also with +nf4 and the like
	Tokens      []int  // of a key and step, each measured apart
	GroupTokens int    // of a pass over the base: as many keys as make them, up to GroupKeys
	GroupKeys   int
	Rank        int
	Targets     []string // modules that are adapted
	Steps       int      // of each key
	Repeat      int      // measurements of either side, in turn; the fastest counts: what else runs on the machine only slows
	Threads     int
}

// KeysResult is what was measured.
type KeysResult struct {
	DType     string    `json:"dtype"`
	KernelSet string    `json:"kernel_set"`
	Threads   int       `json:"threads"`
	Trainable int       `json:"trainable_parameters"` // of a key
	Rows      []KeysRow `json:"rows"`
}

// KeysRow is one number of tokens a key and step. Both sides train the same keys to the same values; a key alone opens a trainer of its
// own.
type KeysRow struct {
	Tokens     int     `json:"tokens"`
	Keys       int     `json:"keys"`
	Group      float64 `json:"group_tokens_per_second"`
	Alone      float64 `json:"alone_tokens_per_second"`
	Ratio      float64 `json:"ratio"`
	GroupCPU   float64 `json:"group_tokens_per_cpu_second"`
	AloneCPU   float64 `json:"alone_tokens_per_cpu_second"`
	RatioCPU   float64 `json:"cpu_ratio"`
	Difference float64 `json:"loss_difference"` // the largest between the two sides, of any key and step
}

// keysModel is a model of a configuration, or the embedded one where none is named.
func keysModel(config, dtype string) (*model.Model, error) {
	if config != "" {
		return benchModel(config, dtype)
	}
	dir, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		return nil, err
	}
	return train.Base(dir, dtype)
}

// Keys measures every number of tokens in turn. told, if not nil, receives each row.
func Keys(ctx context.Context, c KeysConfig, told func(KeysRow)) (*KeysResult, error) {
	if c.Steps < 1 || c.Repeat < 1 || c.GroupKeys < 1 || slices.ContainsFunc(c.Tokens, func(n int) bool { return n < 2 }) {
		return nil, errors.New("bench keys needs a step, a repetition, a key and two tokens at least")
	}
	dtype, err := benchDType(c.DType)
	if err != nil {
		return nil, err
	}
	m, err := keysModel(c.ConfigPath, dtype)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	p := pool.New(c.Threads)
	defer p.Close()
	b := &keysBench{c: &c, m: m, pool: p, dtype: dtype, args: train.DefaultArgs()}
	b.args.MaxSteps, b.args.PerDeviceTrainBatchSize, b.args.LearningRate = c.Steps, 1, 1e-4
	r := &KeysResult{DType: dtype, KernelSet: kernels.Active().String(), Threads: p.Threads()}
	for _, tokens := range c.Tokens {
		jobs := b.jobs(tokens)
		row := KeysRow{Tokens: tokens, Keys: len(jobs)}
		var group, alone, groupCPU, aloneCPU []float64
		timed := func(wall, cpu *[]float64, f func() error) error {
			start, used := time.Now(), usage.CPU()
			err := f()
			*wall, *cpu = append(*wall, time.Since(start).Seconds()), append(*cpu, (usage.CPU()-used).Seconds())
			return err
		}
		for range c.Repeat {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			var together []train.KeyRun
			var apart [][]float64
			if err := errors.Join(
				timed(&group, &groupCPU, func() (err error) { together, err = b.group(jobs); return err }),
				timed(&alone, &aloneCPU, func() (err error) { apart, err = b.alone(jobs, &r.Trainable); return err })); err != nil {
				return nil, err
			}
			for k := range jobs {
				for i := range together[k].Loss {
					row.Difference = max(row.Difference, abs(together[k].Loss[i]-apart[k][i]))
				}
			}
		}
		n := float64(len(jobs) * tokens * c.Steps)
		row.Group, row.Alone = n/slices.Min(group), n/slices.Min(alone)
		row.Ratio = row.Group / row.Alone
		row.GroupCPU, row.AloneCPU = n/slices.Min(groupCPU), n/slices.Min(aloneCPU)
		row.RatioCPU = row.GroupCPU / row.AloneCPU
		r.Rows = append(r.Rows, row)
		if told != nil {
			told(row)
		}
	}
	return r, nil
}

type keysBench struct {
	c     *KeysConfig
	m     *model.Model
	pool  *pool.Pool
	dtype string
	args  train.Args
}

// jobs are keys of one sequence each, of random tokens.
func (b *keysBench) jobs(tokens int) (jobs []train.KeyJob) {
	random := philox.NewKey(1, "bench", "keys")
	for k := range max(1, min(b.c.GroupKeys, b.c.GroupTokens/tokens)) {
		q := datasets.Sequence{DocStarts: []int32{0}, DocIDs: []string{fmt.Sprint(k)}, DocSpans: [][2]int32{{0, 1}}, Sources: []string{""}}
		for t := range tokens {
			id := int32(random.At(uint64(k), uint64(t))[0] % uint32(b.m.Config.Vocab))
			q.InputIDs, q.Labels = append(q.InputIDs, id), append(q.Labels, id)
		}
		q.Labels[0] = datasets.NoLoss
		jobs = append(jobs, train.KeyJob{Key: fmt.Sprint(k), Data: train.Sequences{q}, Tokens: tokens})
	}
	return jobs
}

func (b *keysBench) setup(params *nn.Params) (train.Setup, error) {
	a, err := peft.New("LORA", map[string]any{"r": b.c.Rank, "target_modules": b.c.Targets}, nn.Sites(b.m),
		peft.Env{ModelType: b.m.Config.ModelType, Seed: 1})
	return train.Setup{Wiring: b.m, Adapters: []nn.Adapter{a}, Params: params, Pool: b.pool, DType: train.Values(b.dtype)}, err
}

func (b *keysBench) group(jobs []train.KeyJob) ([]train.KeyRun, error) {
	params := nn.NewParams(len(jobs))
	defer params.Free()
	s, err := b.setup(params)
	if err != nil {
		return nil, err
	}
	return train.TrainKeys(b.args, s, jobs)
}

func (b *keysBench) alone(jobs []train.KeyJob, trainable *int) (losses [][]float64, err error) {
	for _, j := range jobs {
		loss, err := b.one(j, trainable)
		if err != nil {
			return nil, err
		}
		losses = append(losses, loss)
	}
	return losses, nil
}

func (b *keysBench) one(job train.KeyJob, trainable *int) (loss []float64, err error) {
	params := nn.NewParams(1)
	defer params.Free()
	s, err := b.setup(params)
	if err != nil {
		return nil, err
	}
	s.SequenceLength, s.Sequences = job.Tokens, 1
	t, err := train.NewTrainer(b.args, s)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	*trainable = params.Count()
	if err := s.Adapters[0].(*peft.Adapter).Initial(params, 0); err != nil {
		return nil, err
	}
	for range b.c.Steps {
		info, err := t.Step(job.Data, 0)
		if err != nil {
			return nil, err
		}
		loss = append(loss, info.Loss)
	}
	return loss, nil
}

func abs(x float64) float64 { return max(x, -x) }
