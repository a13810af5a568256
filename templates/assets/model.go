package assets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/adaptflow/adaptflow/internal/hub"
	"github.com/adaptflow/adaptflow/internal/pulled"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/tokenize/folder"
)

// Model returns the folder of the model that ref names: a folder, a GGUF file (see [folder.Of]), embedded:NAME, or org/name
// (org/name@revision) of the hub, which is downloaded into the cache of Hugging Face's libraries unless it is there, or a folder on an
// object store (s3://BUCKET/FOLDER), of which this machine takes a copy. A folder of that name is preferred to the hub. say receives each
// file that is downloaded; nil for the standard error.
func Model(ref string, say func(format string, a ...any)) (string, error) {
	return find(ref, false, say)
}

// Here is [Model] of what this machine has already: neither the hub nor an object store is asked.
func Here(ref string) (string, error) { return find(ref, true, nil) }

func isFolder(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

func find(ref string, offline bool, say func(format string, a ...any)) (string, error) {
	if !storage.IsLocal(ref) {
		if strings.HasSuffix(ref, ".gguf") {
			return "", fmt.Errorf("%s: a GGUF file is read from this machine's disk: copy it here", ref)
		}
		if offline {
			return "", fmt.Errorf("%s: no object store is asked here: name a copy on this machine", ref)
		}
		return pulled.FromStore(context.Background(), ref)
	}
	if _, err := os.Stat(ref); err == nil || !hub.Is(ref) {
		dir, err := Resolve(ref)
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%s does not exist: a model is a folder with config.json, a .gguf file, embedded:NAME, or org/name of "+
				"the hub", ref)
		}
		return folder.Of(dir)
	}
	if parent := filepath.Dir(ref); isFolder(parent) {
		return "", fmt.Errorf("%s does not exist, and %s is a folder here: for org/name of the hub, run where no folder is called so", ref,
			parent)
	}
	if say == nil {
		say = func(format string, a ...any) { fmt.Fprintf(os.Stderr, format+"\n", a...) }
	}
	c, err := hub.FromEnv()
	if err != nil {
		return "", err
	}
	c.Offline = c.Offline || offline
	last := ""
	c.Progress = func(file string, done, total int64) {
		if file != last {
			last = file
			say("downloading %s: %s, %.1f MiB", ref, file, float64(total-done)/(1<<20))
		}
	}
	dir, err := c.Snapshot(context.Background(), ref)
	if err != nil {
		return "", fmt.Errorf("no folder here is called %s; on the hub: %w", ref, err)
	}
	return dir, nil
}
