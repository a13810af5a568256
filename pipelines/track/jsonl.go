package track

import (
	"bytes"
	"encoding/json"
	"os"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// File is the name of the JSON lines in an output folder.
const File = "metrics.jsonl"

// Text are rows as JSON lines: {"step": 10, "train/loss": 2.5, …}, keys sorted.
func Text(rows []Row) []byte {
	var b bytes.Buffer
	for _, r := range rows {
		line := map[string]any{"step": r.Step}
		for k, v := range r.Values {
			line[k] = v
		}
		raw, err := json.Marshal(line)
		if err != nil {
			panic("track: finite numbers that cannot be written: " + err.Error())
		}
		b.Write(raw)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// Lines is a file of JSON lines that grows as a training goes on.
type Lines struct{ path string }

// OpenLines begins the file anew with the rows that the training goes on from: those that an interrupted run wrote beyond are made again.
func OpenLines(path string, so []Row) (*Lines, error) {
	return &Lines{path}, storage.WriteFile(path, Text(so))
}

// Add appends a row. What cannot be written is written when the run ends, from its state.
func (l *Lines) Add(r Row) {
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, _ = f.Write(Text([]Row{r}))
	_ = f.Close()
}
