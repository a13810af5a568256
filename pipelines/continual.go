package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/train/continual"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// The files of a run of continual learning.
const (
	HistoryFile   = "history.json"
	CurrentFile   = "current" // the folder of the adapter in use, relative to the run's, and a line feed
	VersionsDir   = "versions"
	incrementsDir = "increments" // of the increment that is being worked on
	replayDir     = "replay"
	heldOutDir    = "heldout"
)

// Learns says whether a recipe is continual learning.
func Learns(r *recipe.Recipe) bool { return r.Continual.IncrementFiles > 0 }

// Watch says how long continual learning goes on.
type Watch struct {
	// Every is the time between two looks for new files; 0 takes what there is and ends.
	Every time.Duration
	// UntilIdle ends when no new file has come for so long; 0 goes on until the context ends.
	UntilIdle time.Duration
}

// learner is a run of continual learning as it stands.
type learner struct {
	*Run
	history *continual.History
	stream  *stream
	general []prepare.ShardRef
	domain  []prepare.ShardRef // of eval_input; nil where text is held out of the increments
	limits  continual.Limits
	refused []string // files of this call that nothing could be used of, with the reason
}

// Learn takes the files of the recipe's input increment by increment, those that the history has not, and returns the history. It goes on where an earlier
// run ended, however that ended: an increment is taken by a copy of its files, worked on in a folder of its own, and counts once the history has it.
func (r *Run) Learn(ctx context.Context, w Watch) (*Learned, error) {
	mem.Heap(ctx, 50, 0) // weights and activations lie outside the heap
	c := r.Recipe.Continual
	l := &learner{Run: r, limits: continual.Limits{MaxForgetting: c.MaxForgetting, MaxDomainRise: c.MaxDomainRise}}
	var err error
	if l.stream, err = newStream(r.Recipe.Data.Input); err != nil {
		return nil, err
	}
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	for last := time.Now(); ; {
		n, err := l.take(ctx)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			last = time.Now()
			continue
		}
		if w.Every <= 0 || w.UntilIdle > 0 && time.Since(last) >= w.UntilIdle {
			break
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(w.Every):
		}
	}
	return l.report()
}

// open reads the history, scores the base model where there is none, and removes what a killed run left behind.
func (l *learner) open(ctx context.Context) (err error) {
	if l.history, err = continual.ReadHistory(l.path(HistoryFile)); err != nil {
		return err
	}
	d := l.Recipe.Data
	general, err := l.prepareSet(ctx, "general", d.GeneralInput, nil, 0)
	if err != nil {
		return err
	}
	l.general = general.Train
	if len(d.EvalInput) > 0 {
		domain, err := l.prepareSet(ctx, "domain", d.EvalInput, nil, 0)
		if err != nil {
			return err
		}
		l.domain = domain.Train
	}
	base, err := record(l.Run, "before", func() (*measure.Results, error) {
		l.say("scoring the base model")
		return l.sub(l.Output).Evaluate(ctx, &Data{Domain: l.domain, General: l.general}, nil, nn.NewParams(1))
	})
	if err != nil {
		return err
	}
	h := l.history
	h.Version, h.Base = version.Version, continual.Scores{Domain: score(base.Domain), General: score(base.General)}
	if h.Base.General == nil {
		return fmt.Errorf("general_input %s: no token in it has a loss, so max_forgetting could not be held: give other text",
			strings.Join(d.GeneralInput, ", "))
	}
	h.GeneralLimit = l.limits.GeneralLimit(h.Base.General)
	if err := l.check(); err != nil {
		return err
	}
	return l.settle()
}

// check compares the adapter in use with the history.
func (l *learner) check() error {
	c := l.history.Current()
	if c == nil {
		return nil
	}
	sum, err := versionSum(l.path(c.Adapter))
	if err != nil {
		return fmt.Errorf("version %d: %w; restore the folder, or choose another --output", c.Number, err)
	}
	if sum != c.SHA256 {
		return fmt.Errorf("%s: the adapter is not the one that %s names: restore it, or choose another --output", l.path(c.Adapter), HistoryFile)
	}
	return nil
}

// settle makes the folder what the history says: the pointer to the version in use, nothing of increments that are done, no older reservoirs. It does
// again what a kill after the history was written left undone.
func (l *learner) settle() error {
	h := l.history
	if c := h.Current(); c != nil {
		if old, err := storage.ReadSmall(l.path(CurrentFile), storage.KindState); err != nil || string(old) != c.Adapter+"\n" {
			if err := storage.WriteShared(l.path(CurrentFile), []byte(c.Adapter+"\n")); err != nil {
				return err
			}
		}
	}
	keep := map[string]bool{l.path(incrementsDir, numbered(h.Next())): true}
	if c := h.Current(); c != nil {
		for _, k := range []*continual.Kept{c.Replay, c.HeldOut} {
			if k != nil {
				keep[l.path(k.Path)] = true
			}
		}
	}
	for _, dir := range []string{incrementsDir, replayDir, heldOutDir} {
		es, err := os.ReadDir(l.path(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range es {
			if p := l.path(dir, e.Name()); !keep[p] {
				if err := os.RemoveAll(p); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (l *learner) path(elem ...string) string {
	return filepath.Join(append([]string{l.Output}, elem...)...)
}

// numbered is the name of an increment's folders and files.
func numbered(n int) string { return fmt.Sprintf("%04d", n) }

// sub is a run of the same model in another folder, which only measures perplexity.
func (r *Run) sub(output string) *Run {
	s := *r
	rec := *r.Recipe
	rec.Continual.IncrementFiles = 0
	rec.Evaluate.MaxNewTokens, rec.Evaluate.ExactMatch, rec.Evaluate.ChrF = 0, 0, 0
	s.Recipe, s.Output = &rec, output
	return &s
}

func score(s *evaluate.Score) *continual.Score {
	if s == nil || s.Tokens == 0 {
		return nil
	}
	return &continual.Score{NLL: s.NLL, Perplexity: s.Perplexity, Tokens: s.Tokens}
}
