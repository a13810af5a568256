package infer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	core "github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/pulled"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/transforms/meter"
	"github.com/adaptflow/adaptflow/transforms/perkey"
)

// session is a model that is open in this process, with the adapters that were used last.
type session struct {
	cfg   Config
	many  *core.Many
	dir   string          // the local folder of cfg.AdaptersDir
	ctx   context.Context // of the call that works
	users int
}

// opened are the sessions of this process by their settings. The lock is held while one works: it takes all threads.
var opened struct {
	sync.Mutex
	sessions map[string]*session
}

// enter opens the session of settings, or uses the one that is open.
func enter(ctx context.Context, cfg string) error {
	opened.Lock()
	defer opened.Unlock()
	_, err := sessionOf(ctx, cfg)
	if err == nil {
		opened.sessions[cfg].users++
	}
	return err
}

// leave closes the session of settings with the last who uses it.
func leave(cfg string) error {
	opened.Lock()
	defer opened.Unlock()
	s := opened.sessions[cfg]
	if s == nil {
		return nil
	}
	if s.users--; s.users > 0 {
		return nil
	}
	delete(opened.sessions, cfg)
	return s.many.Close()
}

// Close frees what this process holds of models. A runner in this process need not end what it has set up; a bundle that comes afterwards
// opens its model again.
func Close() (err error) {
	opened.Lock()
	defer opened.Unlock()
	for cfg, s := range opened.sessions {
		err = errors.Join(err, s.many.Close())
		delete(opened.sessions, cfg)
	}
	return err
}

// sessionOf is the session of settings. The lock is held.
func sessionOf(ctx context.Context, cfg string) (*session, error) {
	if s := opened.sessions[cfg]; s != nil {
		return s, nil
	}
	s := &session{}
	if err := json.Unmarshal([]byte(cfg), &s.cfg); err != nil {
		return nil, fmt.Errorf("infer: the settings: %w", err)
	}
	c := &s.cfg
	if err := kernels.Same(c.KernelSet); err != nil {
		return nil, fmt.Errorf("infer: %w", err)
	}
	dir, err := pulled.Folder(ctx, c.Model)
	if err != nil {
		return nil, err
	}
	if s.dir, err = pulled.Folder(ctx, c.AdaptersDir); err != nil {
		return nil, err
	}
	if s.many, err = core.HoldMany(dir, c.DType, c.Ends, c.Held, s.find); err != nil {
		return nil, err
	}
	if opened.sessions == nil {
		opened.sessions = map[string]*session{}
	}
	opened.sessions[cfg] = s
	return s, nil
}

// find is the local folder of an adapter, "" where there is none of the name.
func (s *session) find(name string) (string, error) {
	if at, ok := s.cfg.Adapters[name]; ok {
		return pulled.Folder(s.ctx, at)
	}
	if s.dir == "" {
		return "", nil
	}
	if name == filepath.Base(name) && filepath.IsLocal(name) {
		at := filepath.Join(s.dir, name)
		if _, err := os.Stat(filepath.Join(at, peft.ConfigFile)); err == nil {
			return at, nil
		}
	}
	return perkey.InitFolder(s.dir, name)
}

// What a call answers at a time, at most.
const (
	mostRows  = 4096
	mostBytes = 8 << 20
)

// answer asks for the answers of a bucket's rows, as many at a time as are held, and emits them; those that have none are dead letters.
func answer[T any](ctx context.Context, cfg string, rows func(*Asked) bool,
	ask func(*core.Many, []core.Question) ([]T, []*core.Refusal, error), emit func(*Asked, *T), dead func(DeadLetter)) error {
	for more := true; more; {
		var asked []Asked
		var qs []core.Question
		bytes := 0
		for len(asked) < mostRows && bytes < mostBytes {
			var a Asked
			if more = rows(&a); !more {
				break
			}
			draw, _ := a.numbers()
			asked, qs = append(asked, a), append(qs, core.Question{Adapter: a.Adapter, Text: a.Text, Draw: draw})
			bytes += len(a.Text)
		}
		if len(asked) == 0 {
			break
		}
		found, refused, err := work(ctx, cfg, qs, ask)
		if err != nil {
			return err
		}
		meter.Add(ctx, meter.DocumentsIn, int64(len(asked)))
		bad := map[string]int64{}
		for i := range asked {
			a := &asked[i]
			if r := refused[i]; r != nil {
				bad[r.Reason]++
				dead(DeadLetter{ID: a.ID, Adapter: a.Adapter, Text: a.Text, Reason: r.Reason, Detail: r.Detail})
				continue
			}
			emit(a, &found[i])
		}
		meter.Rejected(ctx, bad)
		n := int64(len(asked))
		for _, k := range bad {
			n -= k
		}
		meter.Add(ctx, meter.DocumentsOut, n)
	}
	return nil
}

// work asks while no other call of the process works.
func work[T any](ctx context.Context, cfg string, qs []core.Question,
	ask func(*core.Many, []core.Question) ([]T, []*core.Refusal, error)) ([]T, []*core.Refusal, error) {
	opened.Lock()
	defer opened.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, nil, context.Cause(ctx)
	}
	s, err := sessionOf(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	s.ctx = ctx
	defer func() { s.ctx = nil }()
	return ask(s.many, qs)
}
