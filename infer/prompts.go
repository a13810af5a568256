package infer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// ReadPrompts reads prompts: of a .jsonl file the field "prompt" of each line, of another file each line that is not empty.
func ReadPrompts(path string) ([]string, error) {
	raw, err := storage.ReadSmall(path, storage.KindPrompts)
	if err != nil {
		return nil, err
	}
	if f := datasets.Foreign(path, raw); f != nil {
		return nil, fmt.Errorf("%s is %s (by %s), not prompts: write one a line, or JSONL with the field \"prompt\"", path, f.Format, f.By)
	}
	var out []string
	for i, line := range bytes.Split(raw, []byte("\n")) {
		if line = bytes.TrimRight(line, "\r"); len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if !utf8.Valid(line) {
			return nil, fmt.Errorf("%s: line %d is not valid UTF-8: save the file in UTF-8", path, i+1)
		}
		if filepath.Ext(path) != ".jsonl" {
			out = append(out, string(line))
			continue
		}
		var row struct {
			Prompt *string `json:"prompt"`
		}
		if err := json.Unmarshal(line, &row); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, i+1, err)
		}
		if row.Prompt == nil {
			return nil, fmt.Errorf("%s: line %d has no field \"prompt\"", path, i+1)
		}
		out = append(out, *row.Prompt)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no prompt", path)
	}
	return out, nil
}
