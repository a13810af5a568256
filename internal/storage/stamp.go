package storage

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Stamp is a text that tells what lies in a folder of this machine from what lies there at another time, without reading it: the names,
// sizes and times of change of its files with one of the extensions. It is "" for a folder that cannot be listed.
func Stamp(dir string, extensions ...string) string {
	es, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	var b strings.Builder
	for _, e := range es {
		if !slices.Contains(extensions, filepath.Ext(e.Name())) {
			continue
		}
		if st, err := os.Stat(filepath.Join(dir, e.Name())); err == nil { // of what a link names
			fmt.Fprintf(&b, "%q %d %d\n", e.Name(), st.Size(), st.ModTime().UnixNano())
		}
	}
	return b.String()
}
