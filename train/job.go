package train

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// Job is everything that a worker needs to train, as references: it travels as JSON.
type Job struct {
	Args     Args           `json:"args"`
	Model    string         `json:"model"`     // folder of the base model
	Task     model.Task     `json:"task"`      // what the model is opened for
	DType    string         `json:"dtype"`     // storage of its weights and of what the backward pass reads: float32 or bfloat16
	BaseName string         `json:"base_name"` // base_model_name_or_path of the adapter
	Method   string         `json:"method"`    // peft_type
	Config   map[string]any `json:"config"`    // the method's fields
	Start
	NamedObjective
	Train          []ShardRef `json:"train"`      // training shards, in order
	Validation     []ShardRef `json:"validation"` // may be empty
	SequenceLength int        `json:"sequence_length"`
	Dir            string     `json:"dir"` // checkpoints, in a folder that all workers share
	// Location, in place of Dir, is where the checkpoints are for workers that share no folder: a URI. Model, InitAdapter and Teachers are
	// references then (internal/pulled), or folders that every machine has.
	Location    string `json:"location,omitempty"`
	KernelSet   string `json:"kernel_set"`   // resolved once by the driver
	Threads     int    `json:"threads"`      // 0: one a CPU
	MemoryLimit int64  `json:"memory_limit"` // bytes, 0 for none
	// Contributors, where not nil, repeats a run in which late replicas were dropped: who contributed to the round that ended at a step; to
	// others all did.
	Contributors map[int][]int `json:"contributors,omitempty"`
}

// ShardRef refers to a Parquet shard.
type ShardRef struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

// Binding is a hash of all that the adapter's bytes depend on: a checkpoint of one binding continues no other.
func (j *Job) Binding() (string, error) {
	c := *j
	// The places of files and weights, the threads and the memory change no result; how often a run saves and logs does not either.
	c.Model, c.Dir, c.Location, c.Threads, c.MemoryLimit, c.BaseName = "", "", "", 0, 0, ""
	c.Task.Embeddings, c.Task.Trained = "", "" // in the hash of the base
	c.DType, _, _ = strings.Cut(c.DType, "@")
	c.Args.SaveSteps, c.Args.SaveTotalLimit, c.Args.LoggingSteps = 0, 0, 0
	// What late replicas do to a run is who contributed, which its log says.
	c.Args.DropLateAfter, c.Args.MinReplicas = 0, 0
	c.Args.OptimizerShards = 0                                    // changes no result
	if c.Args.SharedPrompts != SharedAuto || !j.sharesPrompts() { // as of jobs before there was a choice
		c.Args.SharedPrompts = ""
	}
	c.Train, c.Validation = nil, nil
	for _, list := range []struct {
		from []ShardRef
		to   *[]ShardRef
	}{{j.Train, &c.Train}, {j.Validation, &c.Validation}} {
		for _, s := range list.from {
			*list.to = append(*list.to, ShardRef{SHA256: s.SHA256})
		}
	}
	if j.InitAdapter != "" {
		sum, err := peft.TensorSum(j.InitAdapter)
		if err != nil {
			return "", err
		}
		c.InitAdapter = sum
	}
	if dir, _ := c.ObjectiveArgs[teacherAdapter].(string); dir != "" {
		sum, err := peft.TensorSum(dir)
		if err != nil {
			return "", fmt.Errorf("objective_args.%s: %w", teacherAdapter, err)
		}
		c.ObjectiveArgs = maps.Clone(c.ObjectiveArgs)
		c.ObjectiveArgs[teacherAdapter] = sum
	}
	c.Teachers = nil
	for _, dir := range j.Teachers {
		h, err := baseHash(dir, j.DType, model.Task{})
		if err != nil {
			return "", fmt.Errorf("the teacher: %w", err)
		}
		c.Teachers = append(c.Teachers, h)
	}
	raw, err := json.Marshal(&c)
	if err != nil {
		return "", err
	}
	h, err := baseHash(j.Model, j.DType, j.Task)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append(raw, h...))
	return hex.EncodeToString(sum[:]), nil
}

// sharesPrompts says whether the job's objective can have prompts computed once.
func (j *Job) sharesPrompts() bool {
	if j.Objective == "" {
		return false
	}
	o, err := NewObjective(j.Objective, j.ObjectiveArgs)
	return err == nil && o.Spec().SharedPrompts
}

// Session is a job opened in this process: the model, the adapter, the trainer, the data, and the step at which they stand.
type Session struct {
	job       Job
	binding   string
	Model     *model.Model
	base      *Held
	Adapter   *peft.Adapter
	pool      *pool.Pool
	params    *nn.Params
	trainer   *Trainer
	data      *Shards
	valid     []datasets.Sequence
	scorer    *Scorer
	objective Objective
	state     *State
	outer     [][]float32 // momentum of the outer optimiser, local mode
	at        int         // the round at whose start the parameters stand, -1 for none
	saved     int         // the checkpoint that the state continues
	codec     codec       // of what replicas send
	late      func() bool // whether the replica that runs must give up

	// Online is how the job goes in rounds of rollouts; nil for one that learns from its shards. The data are prompts then.
	Online   *Online
	prompts  []Prompt
	rolled   Sequences // the rollouts of the round that begins at the step rolledAt
	rolledAt int
	sampled  map[string]float64 // what is reported of them
}

func openSession(job Job) (_ *Session, err error) {
	s := &Session{job: job, at: -1}
	if err = job.sameKernels(); err != nil {
		return nil, err
	}
	if err = job.Args.Validate(); err != nil {
		return nil, err
	}
	if s.codec, err = job.Args.codec(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err = job.Pull(context.Background()); err != nil {
		return nil, err
	}
	job.tidy()
	s.job = job
	base, teachers, err := job.hold()
	if err != nil {
		return nil, err
	}
	defer release(teachers) // the objective holds its own
	s.base, s.Model = base, base.Model
	if s.binding, err = job.Binding(); err != nil {
		return nil, err
	}
	if s.Adapter, err = OpenAdapter(s.Model, job.InitAdapter, job.Method, job.Config, job.BaseName, job.Args.Seed); err != nil {
		return nil, err
	}
	if err = initialised(s.Adapter); err != nil {
		return nil, err
	}
	if err = whole(slices.Concat(job.Train, job.Validation)); err != nil {
		return nil, err
	}
	if s.data, err = OpenTraining(&job.Args, paths(job.Train)); err != nil {
		return nil, err
	}
	s.data.Within(s.Model.Config.Vocab)
	s.pool = pool.New(job.Threads)
	if s.objective, err = job.OpenObjective(s.Model, s.pool); err != nil {
		return nil, err
	}
	if err := s.data.of(s.objective); err != nil {
		return nil, err
	}
	rows := s.data.Len()
	if err := s.openOnline(); err != nil {
		return nil, err
	}
	if s.Online != nil {
		job.Args, rows = s.job.Args, s.Online.Rows
	}
	if len(job.Validation) > 0 && job.Args.EvalSteps > 0 && s.Online == nil {
		if err = s.readValidation(); err != nil {
			return nil, err
		}
	}
	s.params = nn.NewParams(1)
	limit, err := ProgramLimit(job.MemoryLimit, ProcessBytes(s.Model), s.Model, CostOf(s.objective, s.Model, job.SequenceLength))
	if err != nil {
		return nil, err
	}
	s.trainer, err = NewTrainer(job.Args, Setup{Wiring: s.Model, Adapters: []nn.Adapter{s.Adapter}, Params: s.params, Pool: s.pool,
		SequenceLength: job.SequenceLength, Sequences: rows, MemoryLimit: limit, DType: Values(job.DType),
		Objective: s.objective})
	if err != nil {
		return nil, err
	}
	if err := s.keepReference(); err != nil {
		return nil, err
	}
	if job.Args.Mode == "local" && job.rounds() {
		for _, q := range s.trained() {
			s.outer = append(s.outer, make([]float32, len(q.Data)))
		}
	}
	return s, nil
}

func paths(refs []ShardRef) (p []string) {
	for _, r := range refs {
		p = append(p, r.Path)
	}
	return p
}

// whole compares shards with their checksums.
func whole(refs []ShardRef) error {
	for _, r := range refs {
		sum, err := storage.SHA256File(r.Path)
		if err != nil {
			return err
		}
		if r.SHA256 != "" && sum != r.SHA256 {
			return fmt.Errorf("%s: its checksum is not the one in the manifest: prepare the shards again", r.Path)
		}
	}
	return nil
}

// readValidation reads the sequences that evaluations in between score; none where no token of them has a loss.
func (s *Session) readValidation() error {
	v, err := OpenShards(paths(s.job.Validation))
	if err != nil {
		return err
	}
	defer v.Within(s.Model.Config.Vocab).Close()
	if err := v.of(s.objective); err != nil {
		return err
	}
	labels := 0
	for i := range v.Len() {
		q, err := v.Sequence(i)
		if err != nil {
			return err
		}
		s.valid, labels = append(s.valid, q), labels+q.Supervised()
	}
	if labels > 0 {
		return nil
	}
	// a mean over nothing would be the best there is
	if s.valid = nil; s.job.Args.LoadBestModelAtEnd || s.job.Args.EarlyStoppingPatience > 0 {
		return errors.New("train: load_best_model_at_end and early_stopping_patience go by the loss on the evaluation set, " +
			"in which no token has one: give another eval_input")
	}
	return nil
}

func (s *Session) close() {
	if s.trainer != nil {
		s.trainer.Close()
	}
	if s.scorer != nil {
		s.scorer.Close()
	}
	CloseObjective(s.objective)
	if s.params != nil {
		s.params.Free()
	}
	if s.data != nil {
		s.data.Close()
	}
	s.pool.Close()
	_ = s.base.Release() // a file that was only read
}

// Dir is the folder of the job's checkpoints, by which it is watched.
func (s *Session) Dir() string { return s.job.Dir }

// Total is the number of optimiser steps of the run.
func (s *Session) Total() int { return s.trainer.Total }

// Params are the parameters as they stand.
func (s *Session) Params() *nn.Params { return s.params }

// Trainer is the session's trainer.
func (s *Session) Trainer() *Trainer { return s.trainer }

// AtStep is [Session.At] of the job's own checkpoints.
func (s *Session) AtStep(step int) error {
	if step > 0 && !(s.state != nil && s.trainer.Done() == step) {
		if _, err := s.job.Checkpoint(step, keptPrefix); err != nil {
			return err
		}
	}
	return s.At(s.job.Dir, step)
}

// At brings the session to the state of a step: nothing to do when it stands there, the first values for step 0, else
// the checkpoint in dir.
func (s *Session) At(dir string, step int) error {
	if s.state != nil && s.trainer.Done() == step {
		return nil
	}
	if step == 0 {
		if err := s.initial(); err != nil {
			return err
		}
		s.state = &State{Binding: s.binding}
		s.trainer.opt.Step = 0
		s.optimizerState(func(_ string, x []float32) { clear(x) })
		s.trainer.goal.ref.restart()
		for i, m := range s.trainer.steppers {
			if err := m.SetState(s.trainer.fresh[i]); err != nil {
				return err
			}
		}
		return nil
	}
	st, err := s.trainer.load(CheckpointDir(dir, step), s.optimizerState)
	if err != nil {
		return err
	}
	if st.Binding != s.binding {
		return fmt.Errorf("%s was written by a run with other settings, data, base model or kernel set: choose another output folder, or "+
			"delete its checkpoints", CheckpointDir(dir, step))
	}
	s.state = st
	return nil
}

func (s *Session) initial() error {
	if s.job.InitAdapter != "" {
		return s.Adapter.Load(s.params)
	}
	return s.Adapter.Initial(s.params, 0)
}

// State is the session's state.
func (s *Session) State() *State { return s.state }

// Advance runs the optimiser steps after from until to, with one replica, and writes the checkpoint; early stopping may end it before. It
// returns the step it stands at.
func (s *Session) Advance(from, to int) (int, error) {
	if done, err := s.finished(to); done || err != nil {
		return to, err
	}
	if err := s.AtStep(from); err != nil {
		return 0, err
	}
	for s.trainer.Done() < to && !s.state.Stopped {
		if Interrupted(s.job.Dir) && s.trainer.Done() > from && s.Online == nil {
			break // what was done is saved; a round of rollouts is done as a whole
		}
		data, err := s.learning(s.trainer.Done())
		if err != nil {
			return 0, s.lastGood(from, err)
		}
		info, err := s.trainer.Step(data, 0)
		if err != nil {
			return 0, s.lastGood(from, err)
		}
		if err := s.note(info); err != nil {
			return 0, err
		}
	}
	return s.trainer.Done(), s.Save()
}

// finished says whether a checkpoint of this job stands at or after a step: an earlier attempt of the same work, which a runner repeats
// after a worker was lost, wrote it. The one that the attempt started from may have been pruned since.
func (s *Session) finished(step int) (bool, error) {
	steps, err := s.job.Checkpoints()
	if err != nil || len(steps) == 0 || steps[len(steps)-1] < step {
		return false, err
	}
	st, err := s.job.StateOf(steps[len(steps)-1])
	return err == nil && st.Binding == s.binding, nil // a damaged one is written again
}

func (s *Session) lastGood(step int, err error) error {
	if step == 0 {
		return err
	}
	return fmt.Errorf("%w; the last good checkpoint is %s", err, s.shared(filepath.Base(CheckpointDir("", step))))
}

// note records a step and, where one is due, evaluates.
func (s *Session) note(info StepInfo) error {
	if err := s.noteRollouts(&info); err != nil {
		return err
	}
	s.state.History = append(s.state.History, info)
	s.state.TokensSeen += int64(info.Tokens)
	s.state.Seconds += info.Seconds
	Tell(s.job.Dir, Progress{Total: s.trainer.Total, Step: &info})
	if e := s.job.Args.EvalSteps; e == 0 || len(s.valid) == 0 || info.Step%e != 0 && info.Step != s.trainer.Total {
		return nil
	}
	if s.scorer == nil {
		var err error
		tokens := s.job.Args.PerDeviceTrainBatchSize * s.job.SequenceLength
		s.scorer, err = newScorer(s.Model, []nn.Adapter{s.Adapter}, s.params, s.pool, tokens, s.trainer.goal)
		if err != nil {
			return err
		}
	}
	sum, err := s.scorer.loss(s.valid, 0)
	if err != nil {
		return err
	}
	ev := Eval{Step: info.Step, Loss: sum.loss / float64(max(sum.items, 1)), Tokens: sum.items, Metrics: s.trainer.goal.means(sum.metrics)}
	s.state.Evals = append(s.state.Evals, ev)
	if s.state.BestStep == 0 || ev.Loss < s.state.BestLoss {
		s.state.BestStep, s.state.BestLoss, s.state.Worse = info.Step, ev.Loss, 0
	} else {
		s.state.Worse++
		s.state.Stopped = s.job.Args.EarlyStoppingPatience > 0 && s.state.Worse >= s.job.Args.EarlyStoppingPatience
	}
	Tell(s.job.Dir, Progress{Total: s.trainer.Total, Eval: &ev})
	return nil
}

// finite refuses a state that no run could go on from.
func (s *Session) finite() error {
	if q := s.params.NonFinite(); q != nil {
		return fmt.Errorf("step %d: %s is not finite: lower learning_rate or raise warmup_steps", s.trainer.Done(), q.Name)
	}
	return nil
}

// Save writes the checkpoint of the step at which the session stands and deletes old ones.
func (s *Session) Save() error {
	if err := s.finite(); err != nil {
		return err
	}
	optimizer := arrays(s.optimizerState)
	if s.state.Shards != nil {
		var closeAll func()
		var err error
		if optimizer, closeAll, err = s.shardTensors(); err != nil {
			return err
		}
		defer closeAll()
		s.state.Shards = nil // the checkpoint is as one of an optimiser that is not sharded
	}
	files, err := s.trainer.save(s.job.Dir, s.state, optimizer)
	if err != nil {
		return err
	}
	made := Progress{Total: s.trainer.Total}
	rel := filepath.Base(CheckpointDir("", s.trainer.opt.Step))
	for _, f := range files {
		f = filepath.Join(rel, f)
		info, err := os.Stat(filepath.Join(s.job.Dir, f))
		if err != nil {
			return err
		}
		made.Saved += info.Size()
		if err := s.job.up(f); err != nil {
			return err
		}
	}
	Tell(s.job.Dir, made)
	keep := 0
	if s.job.Args.LoadBestModelAtEnd {
		keep = s.state.BestStep
	}
	if s.job.Location != "" {
		if err := s.job.prune(keep); err != nil {
			return err
		}
	}
	return Prune(s.job.Dir, s.job.Args.SaveTotalLimit, keep)
}

// Boundary is the step at which a segment that starts after from ends: the next multiple of save_steps, or of eval_steps where the best
// model is kept, or the end. One of rollouts ends with their round.
func (j *Job) Boundary(from, total int) int {
	if o, err := j.Online(); err == nil && o != nil {
		return o.boundary(from, total)
	}
	next := total
	for _, n := range []int{j.Args.SaveSteps, map[bool]int{true: j.Args.EvalSteps}[j.Args.LoadBestModelAtEnd]} {
		if n > 0 {
			next = min(next, (from/n+1)*n)
		}
	}
	return next
}
