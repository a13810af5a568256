package train

import (
	"context"
	"errors"
	"sync"

	"github.com/adaptflow/adaptflow/internal/watch"
	"github.com/adaptflow/adaptflow/model"
)

// A DoFn is rebuilt from its payload, so that what a run of this process hands to the work that is done for it is found by the run's name:
// the folder of its checkpoints, [Job.Dir], or of its adapters by key.

// Progress is an optimiser step, an evaluation or a checkpoint that a run of Total steps has made; the others are nil and 0.
type Progress struct {
	Total int
	Step  *StepInfo
	Eval  *Eval
	Saved int64 // bytes of the checkpoint
}

var watched watch.Runs[Progress]

// Watch has see called with every optimiser step and evaluation of the run whose checkpoints are in the folder dir, or of every run where
// dir is "", that this process makes or learns of by [Tell], until stop is called.
func Watch(dir string, see func(Progress)) (stop func()) { return watched.Watch(dir, see) }

// Tell tells those who watch the run of dir of a step or an evaluation that another process made.
func Tell(dir string, p Progress) { watched.Tell(dir, p) }

// ErrInterrupted is the error of work whose run was interrupted.
var ErrInterrupted = errors.New("interrupted")

// driven are the runs that this process drives, by folder.
var driven struct {
	sync.Mutex
	runs map[string]context.Context
}

// Drive says that this process drives the run of the folder dir until end is called. Its session and its base model stay open for so long,
// whatever other runs do. When ctx is done, the run's training in this process stops at the next optimiser step, and what is asked of it
// afterwards fails with ErrInterrupted, until it is driven again.
func Drive(ctx context.Context, dir string) (end func()) {
	driven.Lock()
	defer driven.Unlock()
	if driven.runs == nil {
		driven.runs = map[string]context.Context{}
	}
	driven.runs[dir] = ctx
	return func() {
		if ctx.Err() == nil {
			driven.Lock()
			delete(driven.runs, dir)
			driven.Unlock()
		} // else work that a runner has left behind must find it interrupted
		closeSessions(func(s *Session) bool { return s.job.Dir == dir })
		unkeep(func(run string) bool { return run == dir })
	}
}

// Interrupted says whether the run of a folder was interrupted.
func Interrupted(dir string) bool {
	driven.Lock()
	defer driven.Unlock()
	ctx := driven.runs[dir]
	return ctx != nil && ctx.Err() != nil
}

// isDriven says whether the run of a folder is driven by this process and goes on.
func isDriven(dir string) bool {
	driven.Lock()
	defer driven.Unlock()
	ctx := driven.runs[dir]
	return ctx != nil && ctx.Err() == nil
}

// sessions are the open ones, by the JSON of their jobs. The lock is held while one works: each takes all threads.
var sessions struct {
	sync.Mutex
	byJob map[string]*Session
}

// Use runs f with the process's session of a job, opening it when it is the first. One f runs at a time. A job that is opened ends the
// sessions of others, but for those of runs that this process drives: a worker has one.
func Use(jobJSON string, f func(*Session) error) error {
	sessions.Lock()
	defer sessions.Unlock()
	s := sessions.byJob[jobJSON]
	var job Job
	if s != nil {
		job.Dir = s.job.Dir
	} else {
		var err error
		if job, err = parseJob(jobJSON); err != nil {
			return err
		}
	}
	if Interrupted(job.Dir) {
		return ErrInterrupted
	}
	if s == nil {
		closeLocked(func(old *Session) bool { return old.job.Dir == job.Dir || !isDriven(old.job.Dir) })
		var err error
		if s, err = openSession(job); err != nil {
			return err
		}
		if sessions.byJob == nil {
			sessions.byJob = map[string]*Session{}
		}
		sessions.byJob[jobJSON] = s
	}
	err := f(s)
	if err != nil { // what a failed step left in memory is not trusted
		closeLocked(func(x *Session) bool { return x == s })
	}
	return err
}

// basesKept are the base models of runs that this process works for in parts, by the run's folder: see [UseBase].
var basesKept struct {
	sync.Mutex
	byRun map[string]*Held
}

// UseBase runs f with the base model of a job, for the run of the folder dir. The model stays in memory between two calls: while this
// process drives the run ([Drive]), or, of runs that it does not drive, until it is asked for another base.
func UseBase(dir string, j *Job, f func(*model.Model) error) (err error) {
	if Interrupted(dir) {
		return ErrInterrupted
	}
	h, err := keep(dir, j)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Release()) }()
	return f(h.Model)
}

// keep holds the base of a job twice: for the run, and for the caller.
func keep(dir string, j *Job) (*Held, error) {
	basesKept.Lock()
	defer basesKept.Unlock()
	key := keyOf(j.Model, j.DType, j.Task)
	if h := basesKept.byRun[dir]; h == nil || h.key != key {
		for run, h := range basesKept.byRun { // before this one is loaded
			if run == dir || h.key != key && !isDriven(run) {
				delete(basesKept.byRun, run)
				if err := h.Release(); err != nil {
					return nil, err
				}
			}
		}
		h, err := Hold(j.Model, j.DType, j.Task)
		if err != nil {
			return nil, err
		}
		if basesKept.byRun == nil {
			basesKept.byRun = map[string]*Held{}
		}
		basesKept.byRun[dir] = h
	}
	return Hold(j.Model, j.DType, j.Task)
}

// unkeep releases what is kept of runs.
func unkeep(which func(dir string) bool) {
	basesKept.Lock()
	defer basesKept.Unlock()
	for dir, h := range basesKept.byRun {
		if which(dir) {
			delete(basesKept.byRun, dir)
			_ = h.Release() // a file of weights that was only read
		}
	}
}

// CloseSessions ends all sessions of the process, and frees the base models that no one else holds.
func CloseSessions() {
	closeSessions(func(*Session) bool { return true })
	unkeep(func(string) bool { return true })
}

func closeSessions(which func(*Session) bool) {
	sessions.Lock()
	defer sessions.Unlock()
	closeLocked(which)
}

func closeLocked(which func(*Session) bool) {
	for k, s := range sessions.byJob {
		if which(s) {
			s.close()
			delete(sessions.byJob, k)
		}
	}
}
