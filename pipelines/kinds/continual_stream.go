package kinds

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/train/continual"
)

// stream is the input of continual learning: folders, prefixes of object stores, and globs, where files come.
type stream struct {
	dirs, globs []string
	sums        map[string]string // of files as they were last seen
}

// newStream checks the inputs. A folder must exist; that no file matches a glob yet is not an error.
func newStream(inputs []string) (*stream, error) {
	s := &stream{sums: map[string]string{}}
	paths, err := assets.ResolveAll(inputs)
	if err != nil {
		return nil, err
	}
	for i, p := range paths {
		if storage.IsLocal(p) {
			st, err := os.Stat(storage.Local(p))
			if err == nil && st.IsDir() {
				s.dirs = append(s.dirs, storage.Local(p))
				continue
			}
			if dir := fixedDir(storage.Local(p)); err != nil && dir != "" {
				_, err = os.Stat(dir)
			}
			if err != nil {
				return nil, fmt.Errorf("input %s: %w; name a folder that files come to, a prefix of an object store that ends in /, or a "+
					"glob", inputs[i], err)
			}
		} else if strings.HasSuffix(p, "/") {
			p += "*"
		}
		if _, err := storage.Glob(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		s.globs = append(s.globs, p)
	}
	return s, nil
}

// fixedDir is the folder before the first wildcard of a pattern; empty where it has none.
func fixedDir(pattern string) string {
	if i := strings.IndexAny(pattern, `*?[`); i >= 0 {
		return filepath.Dir(pattern[:i] + "x")
	}
	return ""
}

// unfinished says whether a name is one of a file that is still being written: such as rsync, browsers, cp and this program name it.
func unfinished(name string) bool {
	base := path.Base(name)
	return strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") ||
		slices.Contains([]string{".tmp", ".part", ".partial", ".crdownload", ".filepart"}, strings.ToLower(path.Ext(base)))
}

// list are the files that there are now, by name.
func (s *stream) list() ([]datasets.SourceFile, error) {
	var files []datasets.SourceFile
	for _, dir := range s.dirs {
		es, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range es {
			p := filepath.Join(dir, e.Name())
			if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() { // or a link to a file
				files = append(files, datasets.SourceFile{Path: p, Source: e.Name()})
			}
		}
	}
	var globs []string
	for _, g := range s.globs {
		if _, err := storage.Glob(g); errors.Is(err, fs.ErrNotExist) { // none yet
			continue
		} else if err != nil {
			return nil, err
		}
		globs = append(globs, g)
	}
	if len(globs) > 0 {
		more, err := datasets.FindSources(globs)
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	files = slices.DeleteFunc(files, func(f datasets.SourceFile) bool { return unfinished(f.Source) })
	slices.SortStableFunc(files, func(a, b datasets.SourceFile) int { return strings.Compare(a.Source, b.Source) })
	return files, nil
}

// sum is the checksum of a file. One whose size and time did not change since this process read it is not read again; a new process reads
// every file once, so that the time of a file decides nothing for long.
func (s *stream) sum(f datasets.SourceFile) (string, error) {
	seen := ""
	if storage.IsLocal(f.Path) {
		st, err := os.Stat(storage.Local(f.Path))
		if err != nil {
			return "", err
		}
		seen = fmt.Sprintf("%s\x00%d\x00%d", f.Path, st.Size(), st.ModTime().UnixNano())
	} else {
		r, err := storage.OpenReaderAt(f.Path)
		if err != nil {
			return "", err
		}
		seen = fmt.Sprintf("%s\x00%d", f.Path, r.Size())
		if err := r.Close(); err != nil {
			return "", err
		}
	}
	if sum, ok := s.sums[seen]; ok {
		return sum, nil
	}
	sum, err := storage.SHA256File(f.Path)
	if err == nil {
		s.sums[seen] = sum
	}
	return sum, err
}

// fresh are at most n files that the history has not, by name. A file whose content the history has under another name comes alone, as a
// duplicate of that increment.
func (s *stream) fresh(h *continual.History, n int) (files []datasets.SourceFile, duplicate *continual.Increment, err error) {
	all, err := s.list()
	if err != nil {
		return nil, nil, err
	}
	have := map[string]bool{} // contents and names of the increment
	for _, f := range all {
		sum, err := s.sum(f)
		if errors.Is(err, fs.ErrNotExist) { // taken away since it was listed
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if h.Taken(f.Source, sum) {
			continue
		}
		if same := h.Same(sum); same != nil {
			if len(files) == 0 {
				return []datasets.SourceFile{f}, same, nil
			}
			break
		}
		// A duplicate of a file of this increment, which the history will have when it comes to it, or another folder's file of the same
		// name.
		if have["sum "+sum] || have["name "+f.Source] {
			break
		}
		have["sum "+sum], have["name "+f.Source] = true, true
		if files = append(files, f); len(files) == n {
			break
		}
	}
	return files, nil, nil
}

const claimFile = "claim.json"

// claim is what an increment takes: copies of its files, so that what is trained on is what the checksums are of, whatever becomes of the
// files.
type claim struct {
	Files []continual.File `json:"files"`
}

// folder is the name of the folder of the copies at a work location: that of another claim, of a driver that is gone, is another.
func (c *claim) folder() string {
	h := sha256.New()
	for _, f := range c.Files {
		fmt.Fprintf(h, "%q %s\n", f.Name, f.SHA256)
	}
	return inputDir + "-" + hex.EncodeToString(h.Sum(nil))[:16]
}

// inputs are the copies in a folder.
func (c *claim) inputs(dir string) (out []string) {
	for _, f := range c.Files {
		out = append(out, storage.Join(dir, filepath.FromSlash(f.Name)))
	}
	return out
}

// readClaim reads the claim of an increment's folder, which may be at a work location; nil where there is none.
func readClaim(dir string) (*claim, error) {
	raw, err := storage.ReadSmall(storage.Join(dir, claimFile), storage.KindState)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := &claim{}
	if err := json.Unmarshal(raw, c); err != nil {
		return nil, fmt.Errorf("%s: %w: delete the folder to take the increment again", storage.Join(dir, claimFile), err)
	}
	return c, nil
}

// makeClaim copies files into an increment's folder and writes the claim last.
func makeClaim(dir string, files []datasets.SourceFile) (*claim, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	c := &claim{}
	for _, f := range files {
		to := filepath.Join(dir, inputDir, filepath.FromSlash(f.Source))
		x, err := copyFile(to, f.Path)
		if err != nil {
			return nil, fmt.Errorf("taking %s: %w", f.Path, err)
		}
		x.Name = f.Source
		c.Files = append(c.Files, x)
	}
	return c, storage.WriteJSON(filepath.Join(dir, claimFile), c)
}

// copyFile copies a file and returns the size and checksum of the copy.
func copyFile(to, from string) (f continual.File, err error) {
	r, err := storage.OpenReaderAt(from)
	if err != nil {
		return f, err
	}
	defer r.Close()
	w, err := storage.Create(to)
	if err != nil {
		return f, err
	}
	defer w.Abort()
	h := sha256.New()
	if f.Bytes, err = io.Copy(io.MultiWriter(w, h), storage.NewReader(r)); err != nil {
		return f, err
	}
	f.SHA256 = hex.EncodeToString(h.Sum(nil))
	return f, w.Commit()
}
