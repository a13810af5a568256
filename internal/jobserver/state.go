package jobserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// readState reads a folder's state; without one the error wraps ErrDown. A folder is one engine's.
func (e Engine) readState(dir string) (*State, error) {
	path := filepath.Join(dir, stateFile)
	st, err := readStateFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: bring one up with adaptflow %s up", e.Title, ErrDown, e.Name)
	}
	if err != nil {
		return nil, err
	}
	if st.Engine != e.Name && st.Engine != "" {
		return nil, fmt.Errorf("%s is the folder of a %s job server: give another --dir", dir, st.Engine)
	}
	return st, nil
}

func readStateFile(path string) (*State, error) {
	raw, err := storage.ReadSmall(path, storage.KindConfig)
	if err != nil {
		return nil, err
	}
	var st State
	if err := json.Unmarshal(raw, &st); err != nil {
		return nil, fmt.Errorf("%s: %w: delete it", path, err)
	}
	return &st, nil
}

// foreign refuses a folder that is not a job server's alone: its tmp and artifacts are removed when a server comes up or ends.
func foreign(dir string) error {
	es, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	removed, own := "", false
	for _, e := range es {
		switch name := e.Name(); {
		case name == storage.LockName:
			own = true
		case name == stateFile && ours(filepath.Join(dir, name)):
			own = true
		case name == artifacts || name == "tmp" || name == stateFile:
			removed = name
		case !strings.HasSuffix(name, ".log") && !strings.Contains(name, ".tmp-"):
			return fmt.Errorf("%s holds %s, which is no job server's: give --dir a folder of its own", dir, name)
		}
	}
	if removed != "" && !own {
		return fmt.Errorf("%s holds %s, which no job server left there: give --dir a folder of its own", dir, removed)
	}
	return nil
}

// ours says whether a file is a server's state.
func ours(path string) bool {
	st, err := readStateFile(path)
	return err == nil && st.Engine != ""
}

// heap is Java's notation of a heap's bound.
var heap = regexp.MustCompile(`^[1-9][0-9]{0,11}[kKmMgG]?$`)

// check refuses what Java would refuse after the jars were fetched.
func (o Options) check() error {
	if o.Memory != "" && !heap.MatchString(o.Memory) {
		return fmt.Errorf("--memory %q: want a number and k, m or g, as 1g", o.Memory)
	}
	return nil
}
