package evaluate

import (
	"context"
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
	none    *nn.Params // those of the base alone
}

// opened is the session of this process. Whoever has put something into busy holds it: a session that works takes all threads.
var (
	busy   = make(chan struct{}, 1)
	opened struct {
		job     string
		session *session
	}
	// working says whose work it is that holds the session, and when it is done.
	working struct {
		sync.Mutex
		run  string
		done chan struct{}
	}
)

// take takes the session for a run, which gives it back by calling done.
func take(ctx context.Context, run string) (done func(), err error) {
	select {
	case busy <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	ended := make(chan struct{})
	working.Lock()
	working.run, working.done = run, ended
	working.Unlock()
	return func() {
		working.Lock()
		working.run = ""
		working.Unlock()
		<-busy
		close(ended)
	}, nil
}

// use runs f with the process's session of a job, opening it in place of another's. It waits while another works, until ctx or the job's
// run ends.
func use(ctx context.Context, job string, f func(context.Context, *session) error) error {
	run, err := runOf(job)
	if err != nil {
		return fmt.Errorf("evaluate: the job: %w", err)
	}
	ctx, end := core.InRun(ctx, run)
	defer end()
	done, err := take(ctx, run)
	if err != nil {
		return err
	}
	defer done()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if opened.session == nil || opened.job != job {
		closeOpened()
		s, err := open(ctx, job)
		if err != nil {
			return err
		}
		opened.job, opened.session = job, s
	}
	err = f(ctx, opened.session)
	if err != nil || ctx.Err() != nil {
		closeOpened()
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Close frees what this process holds of the jobs of a run that has ended. It waits for work that an interrupted run has left behind, and
// not for that of another run, which has opened a session in place of this one's.
func Close(run string) {
	for {
		working.Lock()
		of, done := working.run, working.done
		working.Unlock()
		select {
		case busy <- struct{}{}:
			defer func() { <-busy }()
		default:
			if of != run {
				return
			}
			<-done
			continue
		}
		break
	}
	if opened.session != nil && opened.session.job.Run == run {
		closeOpened()
	}
}

func closeOpened() {
	if opened.session != nil {
		opened.session.close()
		opened.session, opened.job = nil, ""
	}
}

func open(ctx context.Context, text string) (_ *session, err error) {
	s := &session{none: nn.NewParams(1)}
	if s.job, err = jobOf(text); err != nil {
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
		SequenceLength: j.SequenceLength, Classes: j.Classes, Seed: j.Seed, Objective: j.Model.NamedObjective, Chat: j.Chat}
	if j.Model.InitAdapter != "" {
		s.input.Start = s.trained.Adapter
	}
	return s, nil
}

// alone is the model without its adapter.
func (s *session) alone() *infer.Model {
	m := s.input.Model
	return &infer.Model{Dir: m.Dir, Base: m.Base, Params: s.none, Pool: m.Pool, Tokenizer: m.Tokenizer, Frame: m.Frame, Framed: m.Framed}
}

func (s *session) close() {
	s.pool.Close()
	s.none.Free()
	_ = s.trained.Close() // a file that was only read
}
