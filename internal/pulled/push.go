// Package pulled brings folders of files that never change (a base model, a tokenizer, an adapter) to machines that share nothing but a
// location: the driver pushes a folder once, by its content, and every machine that needs it pulls it once, into a cache of a bounded size,
// and compares its checksums.
package pulled

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// A reference to a folder is the URI of its manifest and the SHA-256 of what it holds, as one string: URI#sha256=HEX. The URI tells where
// it is now, the hash what it is: results depend on the hash alone.
const mark = "#sha256="

// IsRef says whether a path is a reference to a pushed folder.
func IsRef(path string) bool { return strings.Contains(path, mark) }

// split takes a reference apart.
func split(ref string) (uri, sum string, err error) {
	uri, sum, ok := strings.Cut(ref, mark)
	if raw, err := hex.DecodeString(sum); !ok || uri == "" || err != nil || len(raw) != sha256.Size {
		return "", "", fmt.Errorf("%s is not a reference to a folder: want URI%sHEX", ref, mark)
	}
	return uri, sum, nil
}

// about is what a manifest says of a folder beside its parts: the files' names in it, in the parts' order.
type about struct {
	Names []string `json:"names"`
}

// listing are the files of a folder, by their paths in it with slashes, sorted. Links are followed, as Hugging Face's cache is made of
// them; what begins with a dot is left out.
func listing(dir string) (names []string, err error) {
	err = fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := path.Base(p); p != "." && strings.HasPrefix(name, ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(p)))
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s: it is not a regular file", filepath.Join(dir, p))
		}
		names = append(names, p)
		return nil
	})
	slices.Sort(names)
	return names, err
}

// content is the SHA-256 of what a folder holds: names and contents of its files. It does not depend on where it lies.
func content(names []string, parts []storage.Part) string {
	h := sha256.New()
	for i, name := range names {
		fmt.Fprintf(h, "%q %s\n", name, parts[i].SHA256)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Push writes a folder below a location, each file under its own hash, the manifest last, and returns the reference. A file that is there
// already is not sent again, so that a run that goes on pushes nothing, and models that share files keep them once.
func Push(ctx context.Context, dir, location string) (string, error) {
	names, err := listing(dir)
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "", fmt.Errorf("%s: it holds no files", dir)
	}
	there := map[string]int64{}
	if err := storage.List(ctx, location, func(i storage.Info) error {
		there[path.Base(i.URI)] = i.Size
		return nil
	}); err != nil {
		return "", err
	}
	parts := make([]storage.Part, len(names))
	for i, name := range names {
		if parts[i], err = pushFile(ctx, filepath.Join(dir, filepath.FromSlash(name)), location, there); err != nil {
			return "", err
		}
	}
	if _, err := storage.PutSet(ctx, manifest(location, content(names, parts)), parts, about{names}); err != nil {
		return "", err
	}
	return refer(dir, location, names, parts), nil
}

// Refer is the reference that [Push] of a folder gives. Nothing is written, and the location is not asked.
func Refer(dir, location string) (string, error) {
	names, err := listing(dir)
	if err != nil {
		return "", err
	}
	parts := make([]storage.Part, len(names))
	for i, name := range names {
		if parts[i], err = partOf(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return "", err
		}
	}
	return refer(dir, location, names, parts), nil
}

// manifest is where the manifest of a folder is.
func manifest(location, sum string) string { return storage.Join(location, "folder-"+sum[:16]+".json") }

// refer is the reference to a folder of this machine.
func refer(dir, location string, names []string, parts []storage.Part) string {
	sum := content(names, parts)
	mine(sum, dir)
	return manifest(location, sum) + mark + sum
}

// partOf is the part that a file is pushed as.
func partOf(file string) (storage.Part, error) {
	sum, err := storage.SHA256File(file)
	if err != nil {
		return storage.Part{}, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return storage.Part{}, err
	}
	return storage.PartOf("file", "", info.Size(), sum), nil
}

func pushFile(ctx context.Context, file, location string, there map[string]int64) (storage.Part, error) {
	p, err := partOf(file)
	if err != nil {
		return storage.Part{}, err
	}
	f, err := storage.OpenFile(file)
	if err != nil {
		return storage.Part{}, err
	}
	defer f.Close()
	if n, ok := there[p.Name]; ok && n == p.Size {
		return p, nil
	}
	got, err := storage.PutPart(ctx, location, "file", "", f)
	if err == nil && got != p {
		err = fmt.Errorf("%s changed while it was read: see that nothing writes to it, and run again", file)
	}
	return got, err
}
