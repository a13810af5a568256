package storage

import (
	"errors"
	"fmt"
	"io/fs"
)

// explain names the path and says what to do about the errors of a file system that a person can mend. The cause stays wrapped.
func explain(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case isNoSpace(err):
		return fmt.Errorf("%s: the disk is full or its quota is used up; free some space or choose another output folder: %w", path, err)
	case isReadOnly(err):
		return fmt.Errorf("%s: the file system is read-only; choose another output folder: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: no permission; choose another folder or change its mode: %w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// IsNoSpace reports whether an error is a full disk's or an exceeded quota's.
func IsNoSpace(err error) bool { return isNoSpace(err) }

// IsReadOnly reports whether an error is a read-only file system's.
func IsReadOnly(err error) bool { return isReadOnly(err) }
