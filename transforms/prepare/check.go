package prepare

import (
	"context"
	"errors"
	"sync"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// Check opens input files, of which nothing is read but the beginning, and returns the error of the first that is of a format that is not
// read, or does not have what the settings name. Of more than 256 files it opens so many, evenly spread: the others are left to reading,
// whose error is the same. What is damaged is left to reading, too, which writes it to the dead letters. Only the input and the settings of
// reading need be there.
func Check(ctx context.Context, cfg Config) error {
	cfg.OutDir, cfg.RejectsDir, cfg.StagedDir, cfg.TokenizerDir = "-", "-", "-", "-"
	cfg.SequenceLength, cfg.Strategy, cfg.IsolateDocuments = 2, datasets.PackBFDSplit, true
	if err := cfg.complete(); err != nil {
		return err
	}
	sources, parts, err := cfg.findSources()
	if err != nil {
		return err
	}
	return cfg.check(ctx, sources, parts)
}

// checkers bounds the files that are opened at once, checked those that are opened at all.
const (
	checkers = 16
	checked  = 256
)

// spread are at most so many of n, evenly spread, the first among them.
func spread(n, most int) []int {
	out := make([]int, min(n, most))
	for i := range out {
		out[i] = i * n / len(out)
	}
	return out
}

func (c *Config) check(ctx context.Context, sources []datasets.SourceFile, parts map[string]int) error {
	errs := make([]error, len(sources))
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(checkers, len(sources)) {
		wg.Go(func() {
			for i := range next {
				o := c.reading()
				if parts != nil {
					o.Translation = c.Sources[parts[sources[i].Source]].Translation
				}
				r, err := datasets.Open(sources[i].Path, sources[i].Source, o)
				if err == nil {
					err = r.Close()
				}
				if fault := (*datasets.FileError)(nil); !errors.As(err, &fault) {
					errs[i] = err
				}
			}
		})
	}
	for _, i := range spread(len(sources), checked) {
		if ctx.Err() != nil {
			break
		}
		if c.Dry && !storage.IsLocal(sources[i].Path) {
			continue
		}
		next <- i
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}
