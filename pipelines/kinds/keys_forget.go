package kinds

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/transforms/perkey"
)

// forgotten are the ids of the documents that are left out of a run; a dry run asks no object store for them.
func forgotten(r *run.Run) (ids []string, err error) {
	if r.Runner.Dry() {
		return nil, nil
	}
	raw, err := storage.ReadSmall(r.Product(ForgetFile), storage.KindState)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &ids)
	}
	return ids, err
}

// affected are the keys of a run by key whose adapters were trained on one of the documents, and the documents that none was trained on.
func affected(output string, docs []string) (keys, unknown []string, err error) {
	pattern := storage.Join(output, run.AdapterDir+"s", "*", perkey.LineageFile)
	files, err := filepath.Glob(storage.Local(pattern))
	if !storage.IsLocal(output) {
		files, err = storage.Glob(pattern)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	seen := map[string]bool{}
	for _, f := range files {
		raw, err := storage.ReadSmall(f, storage.KindState)
		if err != nil {
			return nil, nil, err
		}
		hit := false
		for d := json.NewDecoder(bytes.NewReader(raw)); ; {
			var doc perkey.Document
			if err := d.Decode(&doc); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", f, err)
			}
			if slices.Contains(docs, doc.ID) {
				hit, seen[doc.ID] = true, true
			}
		}
		if hit {
			x, err := perkey.ReadResult(f[:len(f)-len(perkey.LineageFile)-1])
			if err != nil {
				return nil, nil, err
			}
			keys = append(keys, x.Key)
		}
	}
	for _, id := range docs {
		if !seen[id] {
			unknown = append(unknown, id)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), unknown, nil // one in two folders: its adapter is being replaced
}

// forget leaves documents out of a run by key from now on, takes them out of its shards and dead letters, and trains the keys again that
// were trained on them, no others. The other keys' folders stay. Jobs that a driver which was lost has left are ended first: they would
// write adapters that know the documents.
func forget(ctx context.Context, r *run.Run, docs []string) (*KeyRuns, error) {
	if err := r.Runner.EndOthers(ctx); err != nil {
		return nil, err
	}
	ids, err := forgotten(r)
	if err != nil {
		return nil, err
	}
	ids = append(ids, docs...)
	slices.Sort(ids)
	raw, err := json.Marshal(slices.Compact(ids))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(r.Held(), storage.WriteFile(r.Product(ForgetFile), raw)); err != nil {
		return nil, err
	}
	for _, path := range []string{r.Product(KeysFile), filepath.Join(r.Output, KeysFile)} { // there, and this machine's copy
		if err := storage.Remove(path); err != nil {
			return nil, err
		}
	}
	return trainKeys(ctx, r)
}
