package continual

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// History is history.json: every increment that was taken, in order. It holds nothing that differs between two runs over the same files, so
// that a run which was killed and continued ends with the same bytes.
type History struct {
	SchemaVersion int    `json:"schema_version"`
	Version       string `json:"adaptflow_version"`
	// Base is the base model's score; its domain is nil where text is held out of the increments themselves.
	Base         Scores      `json:"base"`
	GeneralLimit float64     `json:"general_perplexity_limit"`
	Increments   []Increment `json:"increments"`
}

// File is an input file as it was taken.
type File struct {
	Name   string `json:"name"` // relative to the folder that is watched
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

// Increment is one increment and what became of it.
type Increment struct {
	Number   int    `json:"increment"` // from 1
	Files    []File `json:"files"`
	Decision string `json:"decision"`
	Reason   string `json:"reason,omitempty"`
	// Parent is the version that it started from, 0 for the base model. An accepted increment is the version of its own number.
	Parent  int     `json:"parent"`
	Adapter string  `json:"adapter,omitempty"` // folder, relative to the run's
	SHA256  string  `json:"adapter_sha256,omitempty"`
	Data    Records `json:"data"`
	Steps   int     `json:"steps,omitempty"`
	Loss    float64 `json:"train_loss,omitempty"` // of the last step
	Before  Scores  `json:"before"`
	After   Scores  `json:"after"`
	Replay  *Kept   `json:"replay,omitempty"`   // the reservoir after it
	HeldOut *Kept   `json:"held_out,omitempty"` // of the increments' own text, where no eval_input is named
	// Overlap says what its files share with the text that every version is measured on.
	Overlap []string `json:"overlap,omitempty"`
}

// Records is what an increment's files held.
type Records struct {
	Read      int64            `json:"read"`
	Kept      int64            `json:"kept"`
	Rejected  map[string]int64 `json:"rejected,omitempty"`
	Sequences int64            `json:"sequences"`
	Replayed  int              `json:"replayed"` // sequences of earlier increments that it was trained on as well
	Tokens    int64            `json:"tokens"`
}

// Kept refers to the file of a reservoir, relative to the run's folder.
type Kept struct {
	Path      string `json:"path"`
	SHA256    string `json:"sha256"`
	Sequences int64  `json:"sequences"`
}

// historyVersion is the schema version that this program writes and reads.
const historyVersion = 1

// ReadHistory reads history.json; one that does not exist is an empty history.
func ReadHistory(path string) (*History, error) {
	raw, err := storage.ReadSmall(path, storage.KindState)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return ParseHistory(path, raw)
}

// ParseHistory is the history of what history.json at path holds; nil is an empty one.
func ParseHistory(path string, raw []byte) (*History, error) {
	h := &History{SchemaVersion: historyVersion}
	if raw == nil {
		return h, nil
	}
	if err := json.Unmarshal(raw, h); err != nil {
		return nil, fmt.Errorf("%s: %w: the file is written whole or not at all, so it was changed: restore it, or choose another --output",
			path, err)
	}
	if h.SchemaVersion != historyVersion {
		return nil, fmt.Errorf("%s: schema_version %d; this program reads %d", path, h.SchemaVersion, historyVersion)
	}
	for i, x := range h.Increments {
		if x.Number != i+1 {
			return nil, fmt.Errorf("%s: increment %d stands at place %d: the file was changed; restore it, or choose another --output",
				path, x.Number, i+1)
		}
	}
	return h, nil
}

// Marshal is what history.json holds.
func (h *History) Marshal() ([]byte, error) {
	raw, err := storage.MarshalJSON(h, " ")
	return append(raw, '\n'), err
}

// Write writes history.json, atomically.
func (h *History) Write(path string) error { return storage.WriteJSON(path, h) }

// Current is the increment whose version is in use; nil for the base model.
func (h *History) Current() *Increment {
	for i := len(h.Increments) - 1; i >= 0; i-- {
		if h.Increments[i].Decision == Accepted {
			return &h.Increments[i]
		}
	}
	return nil
}

// Next is the number of the next increment.
func (h *History) Next() int { return len(h.Increments) + 1 }

// Taken says whether a file was taken: one of this name and content.
func (h *History) Taken(name, sha256 string) bool {
	return h.find(func(f File) bool { return f.Name == name && f.SHA256 == sha256 }) != nil
}

// Same is the increment that took this content under whatever name; nil for none. A duplicate is none: it took nothing.
func (h *History) Same(sha256 string) *Increment {
	return h.find(func(f File) bool { return f.SHA256 == sha256 })
}

func (h *History) find(f func(File) bool) *Increment {
	for i := range h.Increments {
		for _, x := range h.Increments[i].Files {
			if f(x) {
				return &h.Increments[i]
			}
		}
	}
	return nil
}

// Latest is the newest score of the domain and of general text: those of the version in use, or the base model's.
func (h *History) Latest() Scores {
	if c := h.Current(); c != nil {
		return c.After
	}
	return h.Base
}
