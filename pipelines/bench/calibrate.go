package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/usage"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/pipelines/drive"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/train"
)

// calibrationSteps are the steps that the rate of training is measured by, and rounds those of the runner's.
const (
	calibrationSteps  = 24
	calibrationRounds = 20
)

// Calibrate measures the constants of the scaling model on this machine with a recipe's training on random tokens: in a worker's process of
// so many threads the start, the steps and the memory; in this process what rounds do with files, and what the runner in this process
// (Prism) adds to a round.
func Calibrate(ctx context.Context, program Program, rec *recipe.Recipe, threads int) (*train.Constants, error) {
	defer mem.Heap(ctx, 50, 0)() // as training does
	dir, err := os.MkdirTemp("", "adaptflow-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	own := *rec
	own.Train.Mode, own.Train.OptimizerShards, own.Train.Compression, own.Train.MaxSteps = "sync", 1, "none", calibrationSteps
	p, err := run.Compile(&own)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	setup, err := p.Scaling()
	if err != nil {
		return nil, err
	}
	c := &train.Constants{Threads: threads, Machine: fmt.Sprintf("%s, %s", kernels.Active(), filepath.Base(own.Model.Path))}
	if err := calibrateSteps(ctx, program, p, setup, c, filepath.Join(dir, "steps")); err != nil {
		return nil, err
	}
	if err := calibrateFiles(p, c, filepath.Join(dir, "files")); err != nil {
		return nil, err
	}
	own.Prepare.SequenceLength = min(32, own.Prepare.SequenceLength) // what is computed is the same with the runner and without
	own.Train.PerDeviceTrainBatchSize, own.Train.GradientAccumulationSteps = 1, 1
	short, err := run.Compile(&own)
	if err != nil {
		return nil, err
	}
	defer short.Close()
	if err := calibrateRunner(ctx, short, c, filepath.Join(dir, "runner")); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

// calibrateSteps measures a worker's process: its start, its steps after two that warm it up, and its memory.
func calibrateSteps(ctx context.Context, program Program, p *run.Planned, setup *train.ScalingSetup, c *train.Constants, dir string) error {
	job, _, err := scalingJob(p, dir, c.Threads, 1)
	if err != nil {
		return err
	}
	job.Args.MaxSteps = calibrationSteps + 2
	raw, err := json.Marshal(&job)
	if err != nil {
		return err
	}
	var start, load, steps []float64
	for range 2 { // the smaller of two
		w, err := program.startWorker(ctx, string(raw), c.Threads)
		if err != nil {
			return err
		}
		start, load = append(start, w.hello+w.first.CPU-w.loaded), append(load, w.loaded-w.hello)
		if _, err := w.call(scalingCall{Op: "advance", To: 2}); err != nil {
			w.end() //nolint:errcheck // the error that counts is the other
			return err
		}
		before := w.last.CPU
		_, err = w.call(scalingCall{Op: "advance", Step: 2, To: calibrationSteps + 2})
		steps = append(steps, w.last.CPU-before)
		c.Memory = max(c.Memory, w.last.Peak-setup.Weights-setup.Program-train.HeldOptimizerBytes(&p.Args, p.Params))
		if _, end := w.end(); err == nil {
			err = end
		}
		if err != nil {
			return err
		}
		if err := os.RemoveAll(job.Dir); err != nil {
			return err
		}
	}
	c.Start, c.Load = slices.Min(start), float64(setup.Loaded)/slices.Min(load)
	tokens := calibrationSteps * p.Args.PerDeviceTrainBatchSize * p.Args.GradientAccumulationSteps * p.Recipe.Prepare.SequenceLength
	if c.Pack, err = packRate(job); err != nil {
		return err
	}
	c.FLOPS = float64(tokens) * setup.FLOPs / (slices.Min(steps) - float64(tokens)/c.Pack)
	return nil
}

// packRate is how many tokens a second are read from shards and packed.
func packRate(job train.Job) (float64, error) {
	data, err := train.OpenShards([]string{job.Train[0].Path})
	if err != nil {
		return 0, err
	}
	defer data.Close()
	tokens := 0
	pass := func() error {
		for i := range data.Len() {
			q, err := data.Sequence(i)
			if err != nil {
				return err
			}
			tokens += len(q.InputIDs)
			if _, err := train.StepFrom(append(train.Sequences(nil), q)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := pass(); err != nil { // which decodes the row groups
		return 0, err
	}
	tokens = 0
	start := usage.CPU()
	for usage.CPU()-start < 200*time.Millisecond {
		if err := pass(); err != nil {
			return 0, err
		}
	}
	return float64(tokens) / (usage.CPU() - start).Seconds(), nil
}

// calibrateFiles measures what rounds do with files, and how long the disk is waited for.
func calibrateFiles(p *run.Planned, c *train.Constants, dir string) error {
	job, _, err := scalingJob(p, dir, c.Threads, 2)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(&job)
	if err != nil {
		return err
	}
	defer train.CloseSessions()
	err = train.Use(string(raw), func(s *train.Session) error {
		r, err := s.MeasureRounds(time.Second)
		c.Read, c.Write, c.Check, c.Combine = r.Read, r.Write, r.Check, r.Combine
		return err
	})
	if err != nil {
		return err
	}
	var waits []float64
	block := make([]byte, 1<<20)
	for i := range 11 {
		start, cpu := time.Now(), usage.CPU()
		if err := storage.WriteFile(filepath.Join(dir, "sync"), block); err != nil {
			return err
		}
		if i > 0 {
			waits = append(waits, max(0, time.Since(start).Seconds()-(usage.CPU()-cpu).Seconds()))
		}
	}
	slices.Sort(waits)
	c.Sync = waits[len(waits)/4] // when nothing else waits for the disk
	return nil
}

// calibrateRunner measures what Prism adds to rounds of two and of eight replicas: the CPU time of the same rounds with and without it, the
// least of two runs.
func calibrateRunner(ctx context.Context, p *run.Planned, c *train.Constants, dir string) error {
	defer train.CloseSessions()
	counts := []int{2, 8}
	added := map[int]float64{}
	for _, n := range counts {
		least := map[bool]float64{}
		for i := range 4 {
			bare := i%2 == 0
			job, _, err := scalingJob(p, filepath.Join(dir, fmt.Sprintf("%d-%d", n, i)), c.Threads, n)
			if err != nil {
				return err
			}
			job.Args.MaxSteps, job.Args.SaveSteps = calibrationRounds, calibrationRounds
			raw, err := json.Marshal(&job)
			if err != nil {
				return err
			}
			if err := train.Use(string(raw), func(*train.Session) error { return nil }); err != nil {
				return err
			}
			start := usage.CPU()
			if bare {
				err = train.Use(string(raw), func(s *train.Session) error { return bareRounds(s, n) })
			} else {
				_, err = drive.Train(ctx, job, runners.Runner{}, nil)
			}
			if err != nil {
				return err
			}
			t := (usage.CPU() - start).Seconds() / calibrationRounds
			if was, ok := least[bare]; !ok || t < was {
				least[bare] = t
			}
		}
		added[n] = least[false] - least[true]
	}
	c.Replica = max(0, (added[counts[1]]-added[counts[0]])/float64(counts[1]-counts[0]))
	c.Round = max(0, added[counts[0]]-float64(counts[0])*c.Replica)
	return nil
}

// bareRounds are rounds without a runner, in one process.
func bareRounds(s *train.Session, n int) error {
	for step := range calibrationRounds {
		var refs []train.Ref
		for r := range n {
			ref, err := s.Replica(step, r)
			if err != nil {
				return err
			}
			refs = append(refs, ref)
		}
		if _, err := s.Combine(step, refs); err != nil {
			return err
		}
	}
	return s.Checkpoint(calibrationRounds)
}
