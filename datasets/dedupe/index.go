package dedupe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// An index is a folder of runs of keys without documents, and index.json, written last, with the settings that made the keys.

const indexName = "index.json"

// indexSettings are the settings that two runs must share to compare keys.
func indexSettings(s Step) (string, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		return "", err
	}
	for _, k := range []string{"index_folder", "save_index_folder", "min_doc_words", "min_num_sentences"} {
		delete(m, k)
	}
	m["rule"] = s.Name()
	b, err = json.Marshal(m)
	return string(b), err
}

// OpenIndex lists the runs of the index that a step compares with; none without one.
func OpenIndex(s Step) ([]string, error) {
	dir := s.Index().IndexFolder
	if dir == "" {
		return nil, nil
	}
	b, err := storage.ReadFile(storage.Join(dir, indexName))
	if err != nil {
		return nil, fmt.Errorf("%s: index_folder %s holds no finished index: %w", s.Name(), dir, err)
	}
	want, err := indexSettings(s)
	if err != nil {
		return nil, err
	}
	if string(b) != want {
		return nil, fmt.Errorf("%s: the index in %s was made with other settings (%s) than this step has (%s)", s.Name(), dir, b, want)
	}
	return storage.Glob(storage.Join(dir, "keys-*.run"))
}

// BeginIndex empties the folder of the index that a step writes.
func BeginIndex(s Step) error {
	dir := s.Index().SaveIndexFolder
	if dir == "" {
		return nil
	}
	if err := storage.Remove(storage.Join(dir, indexName)); err != nil {
		return err
	}
	old, err := storage.Glob(storage.Join(dir, "keys-*.run"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range old {
		if err := storage.Remove(f); err != nil {
			return err
		}
	}
	return nil
}

// FinishIndex marks the index that a step has written as whole.
func FinishIndex(s Step) error {
	dir := s.Index().SaveIndexFolder
	if dir == "" {
		return nil
	}
	text, err := indexSettings(s)
	if err != nil {
		return err
	}
	return storage.WriteFile(storage.Join(dir, indexName), []byte(text))
}
