//go:build !linux

package storage

import "errors"

// Exchange swaps two files or folders of one file system in one step. It fails where the system cannot.
func Exchange(a, b string) error { return errors.ErrUnsupported }
