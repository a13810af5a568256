package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// ScalingConfig says what `adaptflow bench scaling` measures: rounds of a recipe's training on random tokens, each worker a process of its
// own, and one more that combines, which run what the DoFns of a round run. The runner itself is not measured.
type ScalingConfig struct {
	Program   Program // starts the workers
	Recipe    *recipe.Recipe
	Workers   []int
	Constants *train.Constants // their Threads are each worker's
}

// ScalingResult has what was predicted and measured for each number of workers.
type ScalingResult struct {
	KernelSet string       `json:"kernel_set"`
	Threads   int          `json:"threads"`
	Rows      []ScalingRow `json:"rows"`
}

// ScalingRow is one number of workers. Of the workers it has the mean; memory is the largest.
type ScalingRow struct {
	Workers   int              `json:"workers"`
	Mode      string           `json:"mode"`
	Rounds    int              `json:"rounds"`
	Worker    MeasuredProcess  `json:"worker"`
	Driver    *MeasuredProcess `json:"driver,omitempty"` // the process that combines
	Predicted *train.Scaling   `json:"predicted"`
}

// MeasuredProcess is what a process took and what was predicted. Read bytes are through system calls: what is read or written is read
// again for its checksum.
type MeasuredProcess struct {
	CPU              float64 `json:"cpu_seconds"`
	PredictedCPU     float64 `json:"predicted_cpu_seconds"`
	Written          int64   `json:"bytes_written"`
	PredictedWritten int64   `json:"predicted_bytes_written"`
	Read             int64   `json:"bytes_read"`
	PredictedRead    int64   `json:"predicted_bytes_read"`
	Peak             int64   `json:"peak_bytes"`
	PredictedPeak    int64   `json:"predicted_peak_bytes"`
}

// scalingJob makes a recipe's job over random tokens in dir: enough sequences that none comes twice in so many steps, at most 4096. bytes
// is the length of its shard.
func scalingJob(p *run.Planned, dir string, threads, workers int) (job train.Job, bytes int64, err error) {
	length := p.Recipe.Prepare.SequenceLength
	path := filepath.Join(dir, "train.parquet")
	w, err := datasets.CreateShard(path, datasets.ShardMeta{Kind: datasets.KindLM, SequenceLength: length})
	if err != nil {
		return job, 0, err
	}
	key := philox.NewKey(1, "bench", "tokens")
	n := min(4096, workers*p.Args.PerDeviceTrainBatchSize*p.Args.GradientAccumulationSteps*max(1, p.Args.MaxSteps))
	for i := range n {
		if err := w.Write(randomSequence(key, i, length, p.Vocab())); err != nil {
			return job, 0, err
		}
	}
	info, err := w.Close()
	if err != nil {
		return job, 0, err
	}
	st, err := os.Stat(path)
	if err != nil {
		return job, 0, err
	}
	job, err = p.Job(dir, prepare.ShardRef{Path: path, SHA256: info.SHA256})
	job.Threads, job.Args.Replicas, job.Args.EvalSteps = threads, workers, 0
	if workers == 1 {
		job.Args.Mode, job.Args.OptimizerShards = "sync", 1
	}
	return job, st.Size(), err
}

// randomSequence is a document of random tokens.
func randomSequence(key philox.Key, i, length, vocab int) *datasets.Sequence {
	s := &datasets.Sequence{DocStarts: []int32{0}, DocIDs: []string{fmt.Sprint(i)}, DocSpans: [][2]int32{{0, 0}}, Sources: []string{""}}
	for k := range length {
		s.InputIDs = append(s.InputIDs, int32(key.At(uint64(i), uint64(k))[0]%uint32(vocab)))
	}
	s.Labels = append(s.Labels, s.InputIDs...)
	s.Labels[0] = datasets.NoLoss
	return s
}

// Scaling measures each number of workers. done is called after each.
func Scaling(ctx context.Context, c ScalingConfig, done func(*ScalingRow)) (*ScalingResult, error) {
	p, err := run.Compile(c.Recipe)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if p.Args.OptimizerShards > 1 {
		return nil, fmt.Errorf("optimizer_shards is %d: rounds whose optimiser is sharded are planned, and not measured",
			p.Args.OptimizerShards)
	}
	setup, err := p.Scaling()
	if err != nil {
		return nil, err
	}
	out := &ScalingResult{KernelSet: kernels.Active().String(), Threads: c.Constants.Threads}
	for _, n := range c.Workers {
		predicted, err := setup.Scale(c.Constants, n)
		if err != nil {
			return nil, err
		}
		row, err := measureScaling(ctx, c.Program, p, c.Constants.Threads, n, predicted)
		if err != nil {
			return nil, fmt.Errorf("%d workers: %w", n, err)
		}
		out.Rows = append(out.Rows, *row)
		if done != nil {
			done(row)
		}
	}
	return out, nil
}

// measureScaling runs a job with n worker processes, and one that combines where there are several.
func measureScaling(ctx context.Context, program Program, p *run.Planned, threads, n int,
	predicted *train.Scaling) (_ *ScalingRow, err error) {
	dir, err := os.MkdirTemp("", "adaptflow-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	job, shard, err := scalingJob(p, dir, threads, n)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(&job)
	if err != nil {
		return nil, err
	}
	var processes []*scalingProcess
	defer func() {
		for _, w := range processes { // where all went well they have ended
			w.end() //nolint:errcheck // the error that counts is another
		}
	}()
	count := n
	if n > 1 {
		count++ // the driver is the last
	}
	for range count {
		w, err := program.startWorker(ctx, string(raw), threads)
		if err != nil {
			return nil, err
		}
		processes = append(processes, w)
	}
	if n == 1 {
		for step := 0; step < job.Args.MaxSteps; {
			r, err := processes[0].call(scalingCall{Op: "advance", Step: step, To: job.Boundary(step, job.Args.MaxSteps)})
			if err != nil {
				return nil, err
			}
			step = r.Step
		}
	} else if err := scalingRounds(processes[:n], processes[n], &job); err != nil {
		return nil, err
	}
	row := &ScalingRow{Workers: n, Mode: job.Args.Mode, Rounds: predicted.Rounds, Predicted: predicted}
	for i, w := range processes {
		cpu, err := w.end()
		if err != nil {
			return nil, err
		}
		m := MeasuredProcess{CPU: cpu, Written: w.last.Written - w.first.Written, Read: w.last.Read - w.first.Read, Peak: w.last.Peak}
		if i == n {
			row.Driver = &m
			m.predict(&predicted.Driver, 0)
			continue
		}
		row.Worker.CPU += m.CPU / float64(n)
		row.Worker.Written += m.Written / int64(n)
		row.Worker.Read += m.Read / int64(n)
		row.Worker.Peak = max(row.Worker.Peak, m.Peak)
	}
	processes = nil
	row.Worker.predict(&predicted.Worker, shard)
	return row, nil
}

func (m *MeasuredProcess) predict(p *train.ProcessCost, shard int64) {
	m.PredictedCPU, m.PredictedWritten, m.PredictedRead, m.PredictedPeak = p.CPU, p.Sent, p.Read+p.Again+shard, p.Memory
}

// scalingRounds drives the rounds of a job as a runner does: the replicas at once, each in its process, then the one that combines.
func scalingRounds(workers []*scalingProcess, driver *scalingProcess, job *train.Job) error {
	total := job.Args.MaxSteps
	for step := 0; step < total; {
		to := job.Boundary(step, total)
		for step < to {
			refs, errs := make([]train.Ref, len(workers)), make([]error, len(workers))
			var wg sync.WaitGroup
			for i, w := range workers {
				wg.Go(func() {
					var r scalingReply
					r, errs[i] = w.call(scalingCall{Op: "replica", Step: step, Replica: i})
					refs[i] = r.Ref
				})
			}
			wg.Wait()
			for _, err := range errs {
				if err != nil {
					return err
				}
			}
			r, err := driver.call(scalingCall{Op: "combine", Step: step, Refs: refs})
			if err != nil {
				return err
			}
			step = r.Step
		}
		if _, err := driver.call(scalingCall{Op: "checkpoint", Step: step}); err != nil {
			return err
		}
	}
	return nil
}

// Table prints the measurement for a person, in Markdown.
func (r *ScalingResult) Table(w io.Writer) {
	fmt.Fprintf(w, "%s, %d threads a process; measured / predicted\n\n", r.KernelSet, r.Threads)
	fmt.Fprintln(w,
		"| mode | workers | rounds | process | CPU, s | written, MB | read, MB | peak, MiB |\n|---|---|---|---|---|---|---|---|")
	for i := range r.Rows {
		r.Rows[i].line(w)
	}
}

func (r *ScalingRow) line(w io.Writer) {
	one := func(name string, m *MeasuredProcess) {
		fmt.Fprintf(w, "| %s | %d | %d | %s | %.2f / %.2f | %.2f / %.2f | %.2f / %.2f | %d / %d |\n", r.Mode, r.Workers, r.Rounds, name,
			m.CPU, m.PredictedCPU,
			float64(m.Written)/1e6, float64(m.PredictedWritten)/1e6, float64(m.Read)/1e6, float64(m.PredictedRead)/1e6, m.Peak>>20,
			m.PredictedPeak>>20)
	}
	one("worker", &r.Worker)
	if r.Driver != nil {
		one("driver", r.Driver)
	}
}
