package prepare

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"

	core "github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// Files that rules and steps of deduplication name: what workers that share no folder with the driver find of them, and where.

// readRules reads what the rules name on object stores, so that what is wrong with it is said before a job begins; what they name on this
// machine was read with the settings.
func (c *Config) readRules() error {
	for i, s := range c.Clean {
		files, err := rules.Files(s)
		if err == nil && slices.ContainsFunc(files, func(f string) bool { return !storage.IsLocal(f) }) {
			_, err = rules.Decode(s)
		}
		if err != nil {
			return fmt.Errorf("prepare.clean[%d]: %w", i, err)
		}
	}
	return nil
}

// shared is how workers find a file.
func (d *driver) shared(ctx context.Context, file string) (string, error) {
	if d.cfg.Shared == nil || file == "" {
		return file, nil
	}
	return d.cfg.Shared(ctx, file)
}

// rules are the cleaning rules as workers get them.
func (d *driver) rules(ctx context.Context) (string, error) {
	if d.cfg.Shared == nil {
		return encoded(d.cfg.Clean), nil
	}
	out := slices.Clone(d.cfg.Clean)
	for i, s := range out {
		var err error
		if out[i], err = rules.Moved(s, func(file string) (string, error) { return d.cfg.Shared(ctx, file) }); err != nil {
			return "", fmt.Errorf("prepare.clean[%d]: %w", i, err)
		}
	}
	return encoded(out), nil
}

// stepSettings are those of a step of deduplication as workers get them: the driver finds the index.
func (d *driver) stepSettings(i int) string {
	if d.cfg.Shared == nil {
		return encoded(d.cfg.Dedupe[i])
	}
	s := map[string]any{}
	for k, v := range d.cfg.Dedupe[i] {
		if k != "index_folder" && k != "save_index_folder" {
			s[k] = v
		}
	}
	return encoded(s)
}

// openIndex are the runs of the index that a step compares with, and the folder to which workers write the new one.
func (d *driver) openIndex(ctx context.Context, i int, step core.Step) (runs []string, save string, err error) {
	if runs, err = core.OpenIndex(step); err != nil {
		return nil, "", err
	}
	for k := range runs {
		if runs[k], err = d.shared(ctx, runs[k]); err != nil {
			return nil, "", err
		}
	}
	if save = step.Index().SaveIndexFolder; d.bringsIndex(step) {
		save = d.index(i)
	}
	return runs, save, core.BeginIndex(step)
}

// bringsIndex says whether workers write an index elsewhere than where it goes.
func (d *driver) bringsIndex(step core.Step) bool {
	to := step.Index().SaveIndexFolder
	return to != "" && d.cfg.Shared != nil && storage.IsLocal(to)
}

// index is the folder to which workers write an index that the driver brings.
func (d *driver) index(i int) string { return d.dir(d.stepName(i) + "-index") }

// finishIndex brings an index that workers have written, and marks it as whole.
func (d *driver) finishIndex(i int, step core.Step) error {
	if d.bringsIndex(step) {
		runs, err := storage.Glob(storage.Join(d.index(i), "*.run"))
		if err != nil {
			return err
		}
		to := storage.Local(step.Index().SaveIndexFolder)
		for _, r := range runs {
			if err := storage.CopyFile(filepath.Join(to, path.Base(filepath.ToSlash(r))), r); err != nil {
				return err
			}
		}
	}
	return core.FinishIndex(step)
}
