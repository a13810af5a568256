package evaluate

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/pulled"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/nn"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
)

// session is a job opened in this process: the model, its adapter and its tokenizer.
type session struct {
	job     Job
	trained *core.Trained
	pool    *pool.Pool
	input   *measure.Input
}

// opened is the session of this process. The lock is held while it works: it takes all threads.
var opened struct {
	sync.Mutex
	job     string
	session *session
}

// use runs f with the process's session of a job, opening it in place of another's.
func use(ctx context.Context, job string, f func(context.Context, *session) error) error {
	opened.Lock()
	defer opened.Unlock()
	if opened.session == nil || opened.job != job {
		closeLocked()
		s, err := open(ctx, job)
		if err != nil {
			return err
		}
		opened.job, opened.session = job, s
	}
	s := opened.session
	ctx, end := core.InRun(ctx, s.job.Run)
	defer end()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	err := f(ctx, s)
	if err != nil {
		closeLocked()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return err
}

// Close frees what this process holds of the jobs of a run.
func Close(run string) {
	opened.Lock()
	defer opened.Unlock()
	if opened.session != nil && opened.session.job.Run == run {
		closeLocked()
	}
}

func closeLocked() {
	if opened.session != nil {
		opened.session.close()
		opened.session, opened.job = nil, ""
	}
}

func open(ctx context.Context, text string) (_ *session, err error) {
	s := &session{}
	if err := json.Unmarshal([]byte(text), &s.job); err != nil {
		return nil, fmt.Errorf("evaluate: the job: %w", err)
	}
	j := &s.job
	if j.Run == "" || j.Output == "" {
		return nil, errNoRun
	}
	if s.trained, err = core.OpenTrained(ctx, j.Model, j.At); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	dir, err := pulled.Folder(ctx, j.Tokenizer)
	if err != nil {
		return nil, err
	}
	tk, frame, err := tokenize.LoadTokenizer(dir, j.Engine, j.Ends, j.Before)
	if err != nil {
		return nil, err
	}
	if len(j.Classes) > 0 {
		if err := s.trained.Model.NameClasses(j.Classes); err != nil {
			return nil, err
		}
	}
	s.pool = pool.New(j.Model.Threads)
	m := &infer.Model{Dir: s.trained.Job.Model, Base: s.trained.Model, Params: s.trained.Params, Pool: s.pool, Tokenizer: tk, Frame: frame,
		Framed: !j.Before}
	if s.trained.Adapter != nil {
		m.Adapters = []nn.Adapter{s.trained.Adapter}
	}
	s.input = &measure.Input{Model: m, Config: j.Config, Domain: j.Domain, General: j.General, Origins: j.Origins,
		SequenceLength: j.SequenceLength, Classes: j.Classes, Seed: j.Seed}
	return s, nil
}

func (s *session) close() {
	s.pool.Close()
	_ = s.trained.Close() // a file that was only read
}
