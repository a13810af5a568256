package prepare

import (
	"context"
	"errors"
	"sync"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// Check opens the input files, of which nothing is read but the beginning, and returns the error of the first that is of a format that is
// not read, or does not have what the settings name. What is damaged is left to reading, which writes it to the dead letters. Only the
// input and the settings of reading need be there.
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

// checkers bounds the files that are opened at once.
const checkers = 16

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
	for i := range sources {
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
