//go:build (!unix && !windows) || solaris || aix

package storage

import (
	"errors"
	"os"
)

// lockFile locks by exclusive creation where the system has no lock that ends with its process.
func lockFile(path string) (*os.File, func() error, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, privateFile)
	if err != nil {
		if errors.Is(err, os.ErrExist) {
			err = errBusy
		}
		return nil, nil, err
	}
	return f, func() error { return errors.Join(f.Close(), os.Remove(path)) }, nil
}
