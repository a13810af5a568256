package perkey

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/peft"
)

// slug is a key with all but ASCII letters, digits, - and _ as -.
func slug(key string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, key)
}

// KeyName is the name of a key's folder: its letters and digits, for people, and 128 bits of the SHA-256 of its bytes, which tell keys
// apart. It is a plain file name on every system: short, ASCII, never with - or . at its start, never one that Windows reserves, and
// different from that of every other key where upper and lower case are one. Whose a folder is says the key in its metrics.json.
func KeyName(key string) string {
	sum := sha256.Sum256([]byte(key))
	name := strings.TrimLeft(slug(key), "-")
	name = strings.TrimRight(name[:min(40, len(name))], "-")
	if name != "" {
		name += "-"
	}
	return name + hex.EncodeToString(sum[:16])
}

// earlierName is the name that folders had before: of 40 bits, so that two keys could share one.
func earlierName(key string) string {
	sum := sha256.Sum256([]byte(key))
	s := slug(key)
	return s[:min(40, len(s))] + "-" + hex.EncodeToString(sum[:5])
}

// home is where a key's adapter is.
type home struct {
	dir  string  // the folder's name
	kept *Result // of a finished adapter in it; nil for none
	// stale is a folder that the key had under an earlier version's name and that goes when dir is finished; "" for none.
	stale string
}

// findHome finds the folder of a key in out. One of an earlier version's name is kept while its adapter has the binding; a folder that
// holds another key's adapter is never the key's.
func findHome(out, key, binding string) (home, error) {
	h := home{dir: KeyName(key)}
	if r, err := ReadResult(storage.Join(out, h.dir)); err == nil {
		if r.Key != key {
			return h, otherKey(storage.Join(out, h.dir), r.Key)
		}
		h.kept = r
	}
	earlier := earlierName(key)
	switch r, err := ReadResult(storage.Join(out, earlier)); {
	case err == nil && r.Key == key:
		if h.kept == nil && r.Binding == binding {
			return home{dir: earlier, kept: r}, nil
		}
		h.stale = earlier
	case errors.Is(err, fs.ErrNotExist) && storage.IsLocal(out):
		// Without metrics.json it was never finished; every key that may have begun it has a folder of its own now.
		if _, err := os.Stat(storage.Local(storage.Join(out, earlier))); err == nil {
			h.stale = earlier
		}
	}
	return h, nil
}

func otherKey(dir, key string) error {
	return fmt.Errorf("%s is the adapter of the key %q by its %s: move it elsewhere, or restore that file", dir, key, MetricsFile)
}

// discard removes the folder of a key that has no adapter any more, or a stale one; on an object store it stays.
func discard(out, name string) error {
	dir := storage.Join(out, name)
	if name == "" || !storage.IsLocal(dir) {
		return nil
	}
	return os.RemoveAll(storage.Local(dir))
}

// InitFolder is the folder of a key's adapter in dir, the adapters of an earlier run; "" where the key has none there. The key is compared
// with that of the folder's metrics.json, since under an earlier version's name another key's adapter may lie there.
func InitFolder(dir, key string) (string, error) {
	for _, name := range []string{KeyName(key), earlierName(key)} {
		at := filepath.Join(dir, name)
		if _, err := os.Stat(peft.TensorPath(at)); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return "", err
		}
		r, err := ReadResult(at)
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%s has no %s, which says whose adapter it is: copy the whole folder, or finish the run that began it",
				at, MetricsFile)
		}
		if err != nil {
			return "", err
		}
		if r.Key == key {
			return at, nil
		}
		if name == KeyName(key) {
			return "", fmt.Errorf("%s is the adapter of the key %q by its %s, not of %q", at, r.Key, MetricsFile, key)
		}
	}
	return "", nil
}
