package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// ReadObject reads a JSON object; a file that does not exist is an empty one.
func ReadObject(fsys fs.FS, name string) (map[string]json.RawMessage, error) {
	b, err := ReadSmallFS(fsys, name, KindConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", path.Base(name), err)
	}
	return m, nil
}
