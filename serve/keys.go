package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Keys are the secrets by which clients are let in, each for the models whose names match one of its patterns. The zero Keys let everybody
// in.
type Keys struct{ list []key }

type key struct {
	sum      [sha256.Size]byte
	patterns []string // of path.Match
}

// Add lets in who has the secret, for models that match the patterns; for all without any.
func (k *Keys) Add(secret string, patterns ...string) error {
	if len(secret) < 1 || strings.ContainsAny(secret, " \t\r\n") {
		return fmt.Errorf("an API key is empty or holds white space")
	}
	if len(patterns) == 0 {
		patterns = []string{"*"}
	}
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("the pattern %q of an API key is wrong: %w", p, err)
		}
	}
	k.list = append(k.list, key{sha256.Sum256([]byte(secret)), patterns})
	return nil
}

// ReadKeys reads a file of keys, a line each: the key, and the patterns of names of models that are its own; all without any. Empty lines
// and such that begin with # are passed over.
func (k *Keys) ReadKeys(file string) error {
	raw, err := storage.ReadSmall(file, storage.KindConfig)
	if err != nil {
		return err
	}
	n := len(k.list)
	for i, line := range strings.Split(string(raw), "\n") {
		f := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r,", r) })
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if err := k.Add(f[0], f[1:]...); err != nil {
			return fmt.Errorf("%s, line %d: %w", file, i+1, err)
		}
	}
	if len(k.list) == n {
		return fmt.Errorf("%s holds no key", file)
	}
	return nil
}

// Open says whether everybody is let in.
func (k *Keys) Open() bool { return len(k.list) == 0 }

// everything is what is seen where there are no keys.
var everything = &key{patterns: []string{"*"}}

// of is the key of a request, nil for none. It takes as long for each secret.
func (k *Keys) of(r *http.Request) *key {
	if k.Open() {
		return everything
	}
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(secret)))
	var found *key
	for i := range k.list {
		if subtle.ConstantTimeCompare(sum[:], k.list[i].sum[:]) == 1 {
			found = &k.list[i]
		}
	}
	if !strings.EqualFold(scheme, "Bearer") {
		return nil
	}
	return found
}

// owner names the key where what is remembered of its prompts is looked for: see [evaluate.Sequence].
func (k *key) owner() string { return string(k.sum[:]) }

// sees says whether a model is the key's.
func (k *key) sees(name string) bool {
	for _, p := range k.patterns {
		if ok, _ := path.Match(p, name); ok || p == "*" {
			return true
		}
	}
	return false
}
