// Package assets carries the embedded model and texts, and unpacks them into the user's cache when they are used.
//
// A reference "embedded:NAME" names a folder or a file of them, such as embedded:lm-en-5m or embedded:linux_man_en/train.jsonl.
// The cache is content-addressed: a folder's name ends with the hash of what it holds, it appears whole by a rename, and its
// files are checked against their sizes before they are used again.
package assets

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/adaptflow/adaptflow/internal/storage"
)

//go:embed files
var files embed.FS

// Scheme begins a reference to something embedded.
const Scheme = "embedded:"

// Is reports whether a path is a reference to something embedded.
func Is(ref string) bool { return strings.HasPrefix(ref, Scheme) }

// Names lists the folders that are embedded.
func Names() []string {
	entries, err := files.ReadDir("files")
	if err != nil {
		panic(fmt.Sprintf("assets: %v", err))
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	sort.Strings(out)
	return out
}

// Resolve returns the local path of a reference, unpacking its folder when the cache does not have it. A path that is not a
// reference is returned as it is.
func Resolve(ref string) (string, error) {
	if !Is(ref) {
		return ref, nil
	}
	folder, rest, _ := strings.Cut(strings.TrimPrefix(ref, Scheme), "/")
	names := Names()
	if i := sort.SearchStrings(names, folder); i == len(names) || names[i] != folder {
		return "", fmt.Errorf("%s: nothing of that name is embedded; there are %s", ref, Scheme+strings.Join(names, ", "+Scheme))
	}
	dir, err := unpack(folder)
	if err != nil {
		return "", fmt.Errorf("%s: %w", ref, err)
	}
	p := filepath.Join(dir, filepath.FromSlash(rest))
	if _, err := os.Stat(p); err != nil {
		return "", fmt.Errorf("%s: no such file is embedded; there are %s", ref, strings.Join(listing(folder), ", "))
	}
	return p, nil
}

// ResolveAll is [Resolve] for each of refs.
func ResolveAll(refs []string) ([]string, error) {
	var out []string
	for _, ref := range refs {
		p, err := Resolve(ref)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func listing(folder string) (out []string) {
	entries, _ := files.ReadDir(path.Join("files", folder))
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".zst"))
	}
	return out
}

// unpack puts a folder into the cache and returns its path there.
func unpack(folder string) (string, error) {
	root, err := storage.CacheDir()
	if err != nil {
		return "", err
	}
	entries, err := files.ReadDir(path.Join("files", folder))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	contents := map[string][]byte{}
	for _, e := range entries {
		b, err := files.ReadFile(path.Join("files", folder, e.Name()))
		if err != nil {
			return "", err
		}
		s := sha256.Sum256(b)
		fmt.Fprintf(h, "%s %x\n", e.Name(), s)
		contents[e.Name()] = b
	}
	dir := filepath.Join(root, folder+"-"+hex.EncodeToString(h.Sum(nil))[:12])
	if whole(dir, contents) {
		return dir, nil
	}
	if err := storage.MkdirAll(root); err != nil {
		return "", fmt.Errorf("the cache folder cannot be made: %w; set ADAPTFLOW_CACHE to another", err)
	}
	tmp, err := os.MkdirTemp(root, ".unpack-*")
	if err != nil {
		return "", fmt.Errorf("the cache folder cannot be written: %w; set ADAPTFLOW_CACHE to another", err)
	}
	defer os.RemoveAll(tmp)
	for name, b := range contents {
		if err := place(tmp, name, b); err != nil {
			return "", fmt.Errorf("%s: %w", filepath.Join(root, name), err)
		}
	}
	if err := os.Rename(tmp, dir); err != nil {
		if whole(dir, contents) { // another process was faster
			return dir, nil
		}
		// What stands there is damaged: move it away and try once more.
		old, merr := os.MkdirTemp(root, ".unpack-*")
		if merr != nil {
			return "", merr
		}
		defer os.RemoveAll(old)
		if merr := os.Rename(dir, filepath.Join(old, folder)); merr != nil && !errors.Is(merr, fs.ErrNotExist) {
			return "", merr
		}
		if err := os.Rename(tmp, dir); err != nil && !whole(dir, contents) {
			return "", err
		}
	}
	return dir, nil
}

// place writes one file, decompressed when its name ends in .zst.
func place(dir, name string, b []byte) error {
	if strings.HasSuffix(name, ".zst") {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err
		}
		defer d.Close()
		if b, err = d.DecodeAll(b, nil); err != nil {
			return err
		}
		name = strings.TrimSuffix(name, ".zst")
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// whole says whether a cached folder has every file in its full size.
func whole(dir string, contents map[string][]byte) bool {
	for name, b := range contents {
		size := int64(len(b))
		if strings.HasSuffix(name, ".zst") {
			var head zstd.Header
			if err := head.Decode(b); err != nil || !head.HasFCS {
				return false
			}
			size = int64(head.FrameContentSize)
		}
		st, err := os.Stat(filepath.Join(dir, strings.TrimSuffix(name, ".zst")))
		if err != nil || st.Size() != size {
			return false
		}
	}
	return true
}
