package storage

import "golang.org/x/sys/unix"

// Exchange swaps two files or folders of one file system in one step. It fails where the system cannot.
func Exchange(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}
