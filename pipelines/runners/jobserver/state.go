package jobserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Status returns the server that is up. dir is as in Options.
func Status(e Engine, dir string) (*State, error) {
	dir, err := e.dir(dir)
	if err != nil {
		return nil, err
	}
	st, err := e.readState(dir)
	if err != nil {
		return nil, err
	}
	if !e.owns(st, dir) {
		return nil, fmt.Errorf("%s: %w: the one with process %d has ended, see %s; bring one up with adaptflow %s up", e.Title, ErrDown,
			st.PID, st.Log, e.Name)
	}
	return st, nil
}

// runs are the versions of the server that is up.
func (e Engine) runs(st *State) Versions {
	if st.Versions == nil {
		return e.Pinned
	}
	return *st.Versions
}

// owns says whether the process of a state runs and is the server: process numbers are used again.
func (e Engine) owns(st *State, dir string) bool { return e.marked(st.PID, dir) }

// marked says whether a process is a Java process of a folder.
func (e Engine) marked(pid int, dir string) bool {
	line, ok := commandLine(pid)
	return ok && strings.Contains(line, e.mark(dir)+" ")
}

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
			return fmt.Errorf("%s holds %s, which is not a job server's: give --dir a folder of its own", dir, name)
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

func writeState(dir string, st *State) error {
	raw, err := json.MarshalIndent(st, "", " ")
	if err != nil {
		return err
	}
	return storage.WriteFile(filepath.Join(dir, stateFile), append(raw, '\n'))
}
