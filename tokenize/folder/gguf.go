// Package folder finds the folder of a model: of a GGUF file it makes one.
package folder

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/adaptflow/adaptflow/internal/gguf"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/tokenize"
)

// ggufLayout is the version of what is made of a GGUF file: another one makes the folder again.
const ggufLayout = "1"

// Of returns the model's folder of a path: a folder as it is, and of a GGUF file, or a folder with one such file and no config.json, one
// in this machine's cache that has a link to the file, config.json and the tokenizer's files, which are made of its metadata.
func Of(path string) (string, error) {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return path, nil // whoever opens it says so
	case st.IsDir():
		if path, err = onlyGGUF(path); err != nil {
			return path, err
		}
		if st, err = os.Stat(path); err != nil {
			return "", err
		}
		if st.IsDir() {
			return path, nil
		}
	case !strings.HasSuffix(path, ".gguf") && !gguf.Is(path):
		return "", fmt.Errorf("%s is a file and no GGUF file: a model is its folder (config.json, safetensors, tokenizer.json) or a "+
			".gguf file", path)
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	cache, err := storage.CacheDir()
	if err != nil {
		return "", err
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %d", ggufLayout, path, st.Size(), st.ModTime().UnixNano()))
	dir := filepath.Join(cache, "gguf", hex.EncodeToString(key[:16]))
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil {
		return dir, nil
	}
	if err := unfold(path, dir); err != nil {
		return "", err
	}
	return dir, nil
}

// onlyGGUF is the GGUF file of a folder that has one and no config.json; otherwise the folder.
func onlyGGUF(dir string) (string, error) {
	if _, err := os.Stat(filepath.Join(dir, "config.json")); !errors.Is(err, fs.ErrNotExist) {
		return dir, nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.gguf"))
	switch {
	case err != nil || len(files) == 0:
		return dir, nil
	case len(files) > 1:
		return "", fmt.Errorf("%s has no config.json and %d GGUF files: name one of them, such as %s", dir, len(files), files[0])
	}
	return files[0], nil
}

// unfold makes the folder of a GGUF file, whole or not at all.
func unfold(path, dir string) error {
	f, err := gguf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	config, err := model.GGUFConfig(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	files, err := tokenize.GGUFFiles(f.Meta)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	files["config.json"] = config
	if err := storage.MkdirAll(filepath.Dir(dir)); err != nil {
		return err
	}
	made, err := os.MkdirTemp(filepath.Dir(dir), ".making-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	for name, raw := range files {
		if err := storage.WriteShared(filepath.Join(made, name), raw); err != nil {
			return err
		}
	}
	link := filepath.Join(made, model.GGUFFile)
	if err := os.Symlink(path, link); err != nil {
		if lerr := os.Link(path, link); lerr != nil { // where only administrators make symbolic links
			return errors.Join(err, lerr)
		}
	}
	err = os.Rename(made, dir)
	if _, there := os.Stat(filepath.Join(dir, "config.json")); there == nil {
		return nil // another process may have been faster
	}
	return err
}
