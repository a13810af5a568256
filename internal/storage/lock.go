package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// LockName is the name of the file by which a folder is locked.
const LockName = ".adaptflow.lock"

// ErrLocked is wrapped by the error of [LockDir] on a folder that another process (or another lock of this one) holds.
var ErrLocked = errors.New("the folder is in use")

// LockedError says who holds a folder.
type LockedError struct {
	Dir string
	PID int // 0 when unknown
}

// Error names the folder and the process.
func (e *LockedError) Error() string {
	who := "another process"
	if e.PID > 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("%s: %v by %s; wait until it ends, or choose another output folder", e.Dir, ErrLocked, who)
}

// Unwrap makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Unwrap() error { return ErrLocked }

// Lock is a held folder.
type Lock struct {
	f       *os.File
	path    string
	release func() error
}

// LockDir locks a local folder for this process, making the folder when absent. The lock ends with Unlock or with the process, however
// it ends. A held folder gives a [LockedError] at once, without waiting. On an object store it locks nothing: the returned one is
// empty. What locks there is a lease: see [Hold].
func LockDir(dir string) (*Lock, error) {
	if !IsLocal(dir) {
		return &Lock{}, nil
	}
	dir = Local(dir)
	if err := MkdirAll(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, LockName)
	f, release, err := lockFile(path)
	if errors.Is(err, errBusy) {
		return nil, &LockedError{Dir: dir, PID: lockHolder(path)}
	}
	if err != nil {
		return nil, explain(path, err)
	}
	if err := writePID(f); err != nil {
		release()
		return nil, explain(path, err)
	}
	return &Lock{f: f, path: path, release: release}, nil
}

// Remove releases the folder and removes the lock file, of a folder that is to hold nothing.
func (l *Lock) Remove() error {
	if l == nil || l.release == nil {
		return nil
	}
	held := os.Remove(l.path) // not every system removes an open file
	err := l.Unlock()
	if held != nil {
		return errors.Join(err, os.Remove(l.path))
	}
	return err
}

// Unlock releases the folder. The lock file stays.
func (l *Lock) Unlock() error {
	if l == nil || l.release == nil {
		return nil
	}
	r := l.release
	l.release = nil
	return r()
}

var errBusy = errors.New("busy")

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func lockHolder(path string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, 32))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}
