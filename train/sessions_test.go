package train

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
)

// TestTwoRunsAtOnce: runs that this process drives together keep their sessions, have the bytes of each alone, see their own steps, and
// are interrupted apart.
func TestTwoRunsAtOnce(t *testing.T) {
	var jobs []Job
	var texts []string
	for k := range 2 {
		j := pinJob(t, datasets.KindLM, keyed(k, 9), keyed(1, 5))
		raw, err := json.Marshal(&j)
		if err != nil {
			t.Fatal(err)
		}
		jobs, texts = append(jobs, j), append(texts, string(raw))
	}
	// advance goes to step to of a run, one step a call, and returns the session and the parameters' digest.
	advance := func(k, from, to int) (at *Session, values string, err error) {
		for step := from; step < to; step++ {
			if err = Use(texts[k], func(s *Session) error {
				if err := s.At(s.job.Dir, step); err != nil {
					return err
				}
				_, err := s.trainer.Step(s.data, 0)
				at, values = s, paramsDigest(s.params)
				return err
			}); err != nil {
				return nil, "", err
			}
		}
		return at, values, nil
	}
	var alone []string
	for k := range jobs {
		_, v, err := advance(k, 0, 4)
		if err != nil {
			t.Fatal(err)
		}
		alone = append(alone, v)
		CloseSessions()
	}
	var wait sync.WaitGroup
	var first, last [2]*Session
	var values [2]string
	var told [2][]int
	contexts := make([]context.Context, 2)
	var cancel [2]context.CancelFunc
	var ends []func()
	for k := range jobs {
		contexts[k], cancel[k] = context.WithCancel(context.Background())
		defer cancel[k]()
		ends = append(ends, Drive(contexts[k], jobs[k].Dir))
		defer Watch(jobs[k].Dir, func(p Progress) {
			if p.Step != nil && p.Total == 5 {
				told[k] = append(told[k], p.Step.Step)
			}
		})()
		wait.Add(1)
		go func() {
			defer wait.Done()
			var err error
			if first[k], _, err = advance(k, 0, 1); err == nil {
				last[k], values[k], err = advance(k, 1, 4)
			}
			if err != nil {
				t.Error(err)
			}
		}()
	}
	wait.Wait()
	for k := range jobs {
		if values[k] != alone[k] {
			t.Errorf("run %d has other values beside another run", k)
		}
		if first[k] == nil || first[k] != last[k] {
			t.Errorf("run %d was opened again", k)
		}
	}
	cancel[0]()
	if _, _, err := advance(0, 4, 5); !errors.Is(err, ErrInterrupted) {
		t.Errorf("an interrupted run goes on: %v", err)
	}
	if err := Use(texts[1], func(s *Session) error { return s.note(StepInfo{Step: 7}) }); err != nil {
		t.Errorf("the other was interrupted too: %v", err)
	}
	if len(told[0]) != 0 || len(told[1]) != 1 || told[1][0] != 7 {
		t.Errorf("told of the steps %v", told)
	}
	for _, end := range ends {
		end()
	}
	if len(sessions.byJob) != 0 {
		t.Errorf("%d sessions are open", len(sessions.byJob))
	}
	if _, _, err := advance(0, 4, 5); !errors.Is(err, ErrInterrupted) {
		t.Errorf("work that was left behind goes on: %v", err)
	}
	defer Drive(context.Background(), jobs[0].Dir)()
	if _, _, err := advance(0, 0, 1); err != nil {
		t.Errorf("a run that is driven again: %v", err)
	}
	// Of runs that nobody here drives, as in a runner's worker, one has a session.
	other := jobs[1]
	other.Dir += "-other"
	raw, err := json.Marshal(&other)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := advance(1, 0, 1); err != nil {
		t.Fatal(err)
	}
	if err := Use(string(raw), func(*Session) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if len(sessions.byJob) != 2 || sessions.byJob[texts[1]] != nil {
		t.Errorf("%d sessions are open", len(sessions.byJob))
	}
	CloseSessions()
}
