package train

import (
	"errors"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

// The scaling model: what rounds with N workers take, from constants that a machine was measured by and the lengths of the files that
// rounds write.
//
// A worker is a process with one replica. Let C be the floating-point operations of a replica's share of a round, U what it sends, K what
// it keeps, S the state, 4·W the parameters, each in bytes (see [RoundFiles]). A round of mode sync (one step) or local (H steps) takes
//
//	worker   S + K read, D tokens packed, C computed, U + K written          all workers at once
//	driver   N·U read and added, S written, waited for                       after them, one process
//
// and so Round = (S + K)/read + D/pack + C/flops + (U + K)/write + N·(U/check + 4W/combine) + S/write + sync + round + N·replica. D is the
// tokens whose labels are counted: in mode sync those of all replicas, since the loss is divided by the step's total before the first
// backward pass, in local its own. The driver is a process of its own, which stands at the state that it wrote; where it is a worker too,
// it reads S once more in mode local. Where a storage's rate is given, each part takes at least its bytes over that rate: the worker's own,
// and all workers' together over that of the whole storage. With an optimiser in M shards the driver's part is done by min(M, N) workers at
// once: N·U/M read and 4W/M written (reduce), the shard's sum and state read and written (apply), then all shards read (gather).

// Constants are what a machine is measured by: see `adaptflow bench scaling --calibrate`. Rates are of one worker and count CPU time, so
// that other work on the machine disturbs them little.
type Constants struct {
	Machine string  `json:"machine"`            // what was measured, for people
	Threads int     `json:"threads"`            // of a worker
	FLOPS   float64 `json:"flops_per_second"`   // operations of training steps, forward and backward, a second of a worker
	Pack    float64 `json:"pack_per_second"`    // tokens read and packed
	Read    float64 `json:"read_per_second"`    // bytes of states read, checked and taken into memory
	Write   float64 `json:"write_per_second"`   // bytes of updates and states encoded, written and summed
	Check   float64 `json:"check_per_second"`   // bytes of updates read and checked
	Combine float64 `json:"combine_per_second"` // bytes of float32 values decoded of updates and added
	Sync    float64 `json:"sync_seconds"`       // waited for the disk when a state is made durable; no CPU time
	Round   float64 `json:"round_seconds"`      // of the runner, a round
	Replica float64 `json:"replica_seconds"`    // of the runner, a replica and round
	Start   float64 `json:"start_seconds"`      // of a process, until it is ready but for the base
	Load    float64 `json:"load_per_second"`    // bytes of the base loaded
	Memory  int64   `json:"memory_bytes"`       // of a process beside what is planned: program, runtime, buffers of files
	// bytes read or written by one worker, where the storage is slower than this machine's; 0 for no limit
	Storage    float64 `json:"storage_per_second"`
	StorageAll float64 `json:"storage_total_per_second"`
}

// Validate says which constant is missing.
func (c *Constants) Validate() error {
	for _, x := range []struct {
		name string
		v    float64
	}{{"flops_per_second", c.FLOPS}, {"pack_per_second", c.Pack}, {"read_per_second", c.Read}, {"write_per_second", c.Write},
		{"check_per_second", c.Check}, {"combine_per_second", c.Combine},
		{"load_per_second", c.Load}} {
		if !(x.v > 0) {
			return fmt.Errorf("%s is %g; it must be above 0: measure the machine with adaptflow bench scaling --calibrate", x.name, x.v)
		}
	}
	for _, v := range []float64{c.Sync, c.Round, c.Replica, c.Start, float64(c.Memory), c.Storage, c.StorageAll} {
		if !(v >= 0) {
			return errors.New("a constant of time, memory or storage is below 0: measure the machine with adaptflow bench scaling " +
				"--calibrate")
		}
	}
	return nil
}

// ScalingSetup is what is scaled: a job's settings and what one worker's program takes.
type ScalingSetup struct {
	Args           Args       // Replicas is not looked at; Steps is of MaxSteps
	Params         *nn.Params // of the adapter; values are not looked at
	Method         int        // length of the state of a method that steps itself, 0 for none
	SequenceLength int
	FLOPs          float64 // operations of a training step, forward and backward, a token
	Weights        int64   // bytes of the base in memory
	Loaded         int64   // bytes of the base that a process reads when it starts
	Program        int64   // bytes of activations, scratch, and the adapter with its gradients
}

// Scaling is what rounds with so many workers take.
type Scaling struct {
	Workers     int     `json:"workers"`
	Mode        string  `json:"mode"`
	Steps       int     `json:"steps"`  // of each replica
	Rounds      int     `json:"rounds"` // 0 of one worker, which trains without
	Checkpoints int     `json:"checkpoints"`
	Tokens      int64   `json:"tokens"` // of all workers, where every sequence is full
	Seconds     float64 `json:"seconds"`
	PerSecond   float64 `json:"tokens_per_second"`
	Efficiency  float64 `json:"efficiency"` // tokens a second and worker, over those of one worker
	// Of a whole round in the middle between two checkpoints; of one worker, of a step.
	Round RoundCost `json:"round"`
	// Of the run: one worker, and the process that combines, which may be a worker too.
	Worker ProcessCost `json:"worker"`
	Driver ProcessCost `json:"driver"`
	Sent   int64       `json:"bytes_sent"` // by all processes
	Read   int64       `json:"bytes_read"`
	// What lies in the folder of checkpoints: one checkpoint, and the files of one round.
	Checkpoint int64 `json:"checkpoint_bytes"`
	Files      int64 `json:"round_bytes"`
}

// RoundCost is a round's time by what it goes to, and its bytes over all processes.
type RoundCost struct {
	Seconds  float64 `json:"seconds"`
	Compute  float64 `json:"compute_seconds"`
	Pack     float64 `json:"pack_seconds"`
	Transfer float64 `json:"transfer_seconds"` // of a worker: state and kept files read, update and kept files written
	Combine  float64 `json:"combine_seconds"`  // the driver's part
	Overhead float64 `json:"overhead_seconds"` // the runner's, and waiting for the disk
	Sent     int64   `json:"bytes_sent"`
	Read     int64   `json:"bytes_read"`
}

// ProcessCost is what one process takes in a run. Bytes are those of files, each counted once a round and process that reads it.
type ProcessCost struct {
	CPU    float64 `json:"cpu_seconds"`
	Sent   int64   `json:"bytes_sent"`
	Read   int64   `json:"bytes_read"`
	Again  int64   `json:"bytes_read_again"` // for checksums, of what it has just read or written
	Memory int64   `json:"peak_bytes"`
}

// work is bytes and time of one kind of process in some part of a run.
type work struct {
	sent, read, again int64
	cpu               float64
}

func (w *work) add(n int, x work) {
	w.sent += int64(n) * x.sent
	w.read += int64(n) * x.read
	w.again += int64(n) * x.again
	w.cpu += float64(n) * x.cpu
}

// Scale computes what the setup takes with so many workers.
func (s *ScalingSetup) Scale(c *Constants, workers int) (*Scaling, error) {
	a := s.Args
	a.Replicas, a.MinReplicas = workers, min(a.MinReplicas, workers)
	if workers == 1 {
		a.Mode, a.OptimizerShards = "sync", 1 // one replica is plain training
	}
	if err := a.Validate(); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if a.MaxSteps <= 0 {
		return nil, errors.New("how many steps there are depends on the data, which is not read: set steps")
	}
	f, err := FilesOf(&a, s.Params, s.Method)
	if err != nil {
		return nil, err
	}
	job := Job{Args: a}
	m := &roundModel{setup: s, args: &a, c: c, f: f, n: workers, local: a.Mode == "local" && workers > 1, shards: 1}
	if job.sharded() {
		m.shards = a.OptimizerShards
	}
	for _, q := range s.Params.List() {
		m.values += int64(len(q.Data))
	}
	out := &Scaling{Workers: workers, Mode: a.Mode, Steps: a.MaxSteps, Tokens: int64(a.MaxSteps) * int64(workers) * m.tokens()}
	start := work{cpu: c.Start + float64(s.Loaded)/c.Load}
	worker, driver := start, start
	seconds := start.cpu
	for step, since, base := 0, 0, 0; step < a.MaxSteps; {
		to := job.Boundary(step, a.MaxSteps)
		if workers == 1 {
			w := m.plain(to - step)
			worker.add(1, w)
			seconds += w.cpu
			step = to
		}
		for step < to {
			n := job.RoundSteps(step, a.MaxSteps)
			w, d, r := m.round(n, step, since, base)
			worker.add(1, w)
			driver.add(1, d)
			seconds += r.Seconds
			out.Rounds++
			step, since = step+n, since+1
		}
		out.Checkpoints++
		d, sec := m.checkpoint(out.Rounds, step)
		if workers == 1 {
			worker.add(1, d)
		} else {
			driver.add(1, d)
		}
		seconds += sec
		since, base = 0, step
	}
	if out.Round.Compute, out.Round.Pack = m.compute(1), m.packing(1, 1); workers == 1 {
		out.Round.Seconds = out.Round.Compute + out.Round.Pack
	} else {
		_, _, out.Round = m.round(job.RoundSteps(0, a.MaxSteps), 1, out.Rounds/out.Checkpoints/2, 0)
	}
	out.Worker, out.Driver = ProcessCost{worker.cpu, worker.sent, worker.read, worker.again, m.workerMemory()},
		ProcessCost{driver.cpu, driver.sent, driver.read, driver.again, m.driverMemory()}
	if workers == 1 {
		out.Driver = ProcessCost{} // the one worker is all there is
	}
	out.Sent, out.Read = int64(workers)*worker.sent+out.Driver.Sent, int64(workers)*worker.read+out.Driver.Read
	out.Seconds, out.PerSecond = seconds, float64(out.Tokens)/seconds
	out.Checkpoint = f.Trainable + f.Optimizer + int64(workers)*f.Kept
	if workers > 1 {
		out.Files = int64(workers)*(f.Update()+f.Kept) + f.State + total(f.Sums) + total(f.Shards)
	}
	return out, nil
}

// ScaleAll computes several numbers of workers, and their efficiency beside one.
func (s *ScalingSetup) ScaleAll(c *Constants, workers []int) ([]*Scaling, error) {
	one, err := s.Scale(c, 1)
	if err != nil {
		return nil, err
	}
	var out []*Scaling
	for _, n := range workers {
		if n < 1 {
			return nil, fmt.Errorf("%d workers: at least 1", n)
		}
		r, err := s.Scale(c, n)
		if err != nil {
			return nil, fmt.Errorf("%d workers: %w", n, err)
		}
		r.Efficiency = r.PerSecond / float64(n) / one.PerSecond
		out = append(out, r)
	}
	return out, nil
}

// TrainFLOPs is about how many floating-point operations a training step takes a token of sequences of the given length: 2 a weight that
// multiplies in the forward pass and 2 in the backward one, which has no gradient of frozen weights; 6 a trained value; causal attention
// over half the sequence; and a forward pass more of the blocks that are computed again, share of all.
func TrainFLOPs(m *model.Model, trained, sequence int, share float64) float64 {
	c := &m.Config
	return ForwardFLOPs(m, sequence)*(2+share) + float64(sequence)*2*float64(c.Layers*c.Heads*c.HeadDim) + 6*float64(trained)
}

// ForwardFLOPs is the part of TrainFLOPs that is the forward pass.
func ForwardFLOPs(m *model.Model, sequence int) float64 {
	c := &m.Config
	weights := float64(m.ParamCount())
	if !c.Tied {
		weights -= float64(c.Vocab) * float64(c.Hidden) // a look-up
	}
	return 2*weights + 2*float64(sequence)*float64(c.Layers*c.Heads*c.HeadDim)
}

// largest is the largest of a list, 0 of none.
func largest(x []int64) int64 {
	if len(x) == 0 {
		return 0
	}
	return slices.Max(x)
}
