//go:build !unix

package storage

import (
	"errors"
	"os"
	"syscall"
)

// Windows' ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL and ERROR_WRITE_PROTECT; no such numbers come from other systems of this build.
func isNoSpace(err error) bool {
	return errors.Is(err, syscall.Errno(39)) || errors.Is(err, syscall.Errno(112))
}

func isReadOnly(err error) bool { return errors.Is(err, syscall.Errno(19)) }

// openNow opens a file for reading.
func openNow(path string) (*os.File, error) { return os.Open(path) }

// syncDir does nothing: a folder cannot be opened for syncing here.
func syncDir(string) error { return nil }
