package storage

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockByte is the locked byte's offset, far beyond the content so that the holder's pid stays readable.
const lockByte = 1 << 30

func lockFile(path string) (*os.File, func() error, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, privateFile)
	if err != nil {
		return nil, nil, err
	}
	ol := windows.Overlapped{Offset: lockByte}
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &ol)
	if err != nil {
		f.Close()
		if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
			err = errBusy
		}
		return nil, nil, err
	}
	return f, f.Close, nil
}
