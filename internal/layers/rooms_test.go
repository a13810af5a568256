package layers

import (
	"slices"
	"strings"
	"testing"
)

// room is the number of a package's room in [Rooms], -1 for a package that is in none.
func room(path string) int {
	name, ok := strings.CutPrefix(path, module+"/pipelines/")
	if !ok {
		return -1
	}
	name, _, _ = strings.Cut(name, "/")
	return slices.IndexFunc(Rooms, func(f Folder) bool { return f.Name == name })
}

// TestRooms: the rooms of pipelines/ import downward, and the table has them all.
func TestRooms(t *testing.T) {
	seen := map[int]bool{}
	for _, p := range export(t, module+"/pipelines/...") {
		from := room(p.ImportPath)
		if from < 0 {
			if strings.HasPrefix(p.ImportPath, module+"/pipelines/") {
				t.Errorf("%s is in no room of the table", p.ImportPath)
			}
			continue
		}
		seen[from] = true
		for _, i := range p.Imports {
			if to := room(i); to > from {
				t.Errorf("%s imports %s, which is a room above its own", p.ImportPath, i)
			}
		}
	}
	for i, r := range Rooms {
		if !seen[i] {
			t.Errorf("no package in the room %s, which the table names", r.Name)
		}
	}
}
