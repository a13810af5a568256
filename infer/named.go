package infer

import (
	"path/filepath"
	"strings"
)

// Named is an adapter folder and the name by which the adapter is chosen.
type Named struct{ Name, Dir string }

// ParseNamed is the adapter that is given as NAME=DIR, or as DIR, whose name is then the folder's.
func ParseNamed(given string) Named {
	name, dir, ok := strings.Cut(given, "=")
	if !ok {
		return Named{filepath.Base(filepath.Clean(given)), given}
	}
	return Named{name, dir}
}
