package datasets

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// SourceFile is an input file and the name its records carry.
type SourceFile struct {
	Path   string
	Source string // slash-separated, relative to the fixed root of its glob
}

// FindSources resolves globs to files, in the order of the globs and by name within one; a file found twice counts once. When the same
// relative name comes from two folders, all names are made relative to the folder that the globs have in common instead, so that no two
// files share a name.
func FindSources(globs []string) ([]SourceFile, error) { return findSources(globs, storage.Glob) }

// NameSources is [FindSources], but asks no object store: a glob of objects stands for itself, as one file of that name.
func NameSources(globs []string) ([]SourceFile, error) {
	return findSources(globs, func(g string) ([]string, error) {
		if storage.IsLocal(g) {
			return storage.Glob(g)
		}
		return []string{g}, nil
	})
}

func findSources(globs []string, list func(string) ([]string, error)) ([]SourceFile, error) {
	if len(globs) == 0 {
		return nil, fmt.Errorf("no input files are named")
	}
	var out []SourceFile
	seen, names := map[string]bool{}, map[string]bool{}
	clash := false
	for _, g := range globs {
		files, err := list(g)
		if err != nil {
			return nil, err
		}
		root := fixedRoot(slash(g))
		for _, f := range files {
			if seen[f] {
				continue
			}
			seen[f] = true
			s := relative(root, slash(f))
			clash = clash || names[s]
			names[s] = true
			out = append(out, SourceFile{Path: f, Source: s})
		}
	}
	if clash {
		var dirs []string
		for _, f := range out {
			dirs = append(dirs, path.Dir(slash(f.Path)))
		}
		root := commonDir(dirs)
		for i := range out {
			out[i].Source = relative(root, slash(out[i].Path))
		}
	}
	return out, nil
}

func slash(p string) string {
	if storage.IsLocal(p) {
		return path.Clean(filepath.ToSlash(storage.Local(p)))
	}
	return p
}

// fixedRoot is the folder of the part of a pattern before its first wildcard.
func fixedRoot(glob string) string {
	if i := strings.IndexAny(glob, `*?[\`); i >= 0 {
		glob = glob[:i]
		if j := strings.LastIndexByte(glob, '/'); j >= 0 {
			return glob[:j+1]
		}
		return ""
	}
	return glob[:strings.LastIndexByte(glob, '/')+1]
}

func relative(root, p string) string { return strings.TrimPrefix(strings.TrimPrefix(p, root), "/") }

// commonDir is the deepest folder that holds all the given ones.
func commonDir(dirs []string) string {
	common := strings.Split(dirs[0], "/")
	for _, d := range dirs[1:] {
		parts := strings.Split(d, "/")
		n := 0
		for n < len(common) && n < len(parts) && common[n] == parts[n] {
			n++
		}
		common = slices.Clip(common[:n])
	}
	return strings.Join(common, "/")
}
