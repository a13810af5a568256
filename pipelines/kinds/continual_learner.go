package kinds

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/pipelines/run"
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
	inputDir      = "input"      // in an increment's folder
	replayDir     = "replay"
	heldOutDir    = "heldout"
)

// learner is a run of continual learning as it stands.
type learner struct {
	*run.Run
	history *continual.History
	version storage.Version // of the history on an object store
	stream  *stream
	general []prepare.ShardRef
	domain  []prepare.ShardRef // of eval_input; nil where text is held out of the increments
	limits  continual.Limits
	refused []string // files of this call that nothing could be used of, with the reason
}

func (l *learner) path(elem ...string) string {
	return filepath.Join(append([]string{l.Output}, elem...)...)
}

// numbered is the name of an increment's folders and files.
func numbered(n int) string { return fmt.Sprintf("%04d", n) }

// check compares the adapter in use with the history.
func (l *learner) check(ctx context.Context) error {
	c := l.history.Current()
	if c == nil {
		return nil
	}
	err := l.fetchVersion(ctx, c)
	sum := ""
	if err == nil {
		sum, err = versionSum(l.path(c.Adapter))
	}
	if err != nil {
		return fmt.Errorf("version %d: %w; restore the folder, or choose another --output", c.Number, err)
	}
	if sum != c.SHA256 {
		return fmt.Errorf("%s: the adapter is not the one that %s names: restore it, or choose another --output",
			l.Product(c.Adapter), HistoryFile)
	}
	return nil
}

// versionSum is the checksum of an adapter folder's tensors.
func versionSum(dir string) (string, error) {
	sum, err := peft.TensorSum(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: the adapter is gone", err)
	}
	return sum, err
}

// settle makes the folder what the history says: the pointer to the version in use, nothing of increments that are done, no older
// reservoirs. It does again what a kill after the history was written left undone.
func (l *learner) settle(ctx context.Context) error {
	h := l.history
	if err := l.mayWrite(ctx); err != nil {
		return err
	}
	if c := h.Current(); c != nil {
		if old, err := storage.ReadSmall(l.Product(CurrentFile), storage.KindState); err != nil || string(old) != c.Adapter+"\n" {
			if err := storage.WriteShared(l.Product(CurrentFile), []byte(c.Adapter+"\n")); err != nil {
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
	for _, dir := range settled {
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
	return l.settleWork(ctx, keep)
}

// settled are the folders of which only what the history says is kept.
var settled = []string{incrementsDir, replayDir, heldOutDir}

// measuring is the recipe of an increment, which only measures perplexity.
func measuring(of *recipe.Recipe) *recipe.Recipe {
	rec := *of
	rec.Continual.IncrementFiles = 0
	rec.Evaluate.MaxNewTokens, rec.Evaluate.ExactMatch, rec.Evaluate.ChrF = 0, 0, 0
	return &rec
}

func score(s *evaluate.Score) *continual.Score {
	if s == nil || s.Tokens == 0 {
		return nil
	}
	return &continual.Score{NLL: s.NLL, Perplexity: s.Perplexity, Tokens: s.Tokens}
}
