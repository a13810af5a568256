package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// CheckTarget says why no file may be put at path: a finished file takes the place of what is there, so that a device or a pipe would be
// lost, and a folder is in the way. [Create] asks, too; who works long before it writes asks at the start.
func CheckTarget(path string) error {
	if !IsLocal(path) {
		return nil
	}
	p := Local(path)
	if p == "" || strings.HasSuffix(p, "/") || strings.HasSuffix(p, string(filepath.Separator)) {
		return fmt.Errorf("%q names no file to write", path)
	}
	st, err := os.Stat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return explain(path, err)
	}
	if to, err := os.Readlink(p); err == nil && openFile(to) {
		return fmt.Errorf("%s: is an open file of this process, and a file is written whole under its own name: name a new file", path)
	}
	if what := kindOf(st.Mode()); what != "" {
		return fmt.Errorf("%s: is %s, and a file would take its place: name a new file", path, what)
	}
	return nil
}

// openFile says whether a link leads to a file of a process, as /dev/stdout does, rather than to a file by its name.
func openFile(link string) bool {
	return strings.HasPrefix(link, "/proc/") || strings.HasPrefix(link, "/dev/fd/")
}
