package rules

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Reader is a rule whose settings name files, which Prepare reads. Workers that share no folder with the driver read them elsewhere.
type Reader interface {
	Rule
	// Files are what the settings name: files, globs, or URIs of those.
	Files() []string
	// Check is Prepare without what needs the files.
	Check() error
	// Move replaces each file on this machine by the place that is given for it; nothing else changes what the rule says of a document.
	Move(place func(file string) (string, error)) error
}

// Files are the files that the settings of a rule name.
func Files(settings map[string]any) ([]string, error) {
	r, err := decode(settings)
	if f, ok := r.(Reader); ok && err == nil {
		return f.Files(), nil
	}
	return nil, err
}

// Check checks settings as [Decode] does, but asks no object store for the files that they name there.
func Check(settings map[string]any) error {
	r, err := decode(settings)
	if err != nil {
		return err
	}
	if f, ok := r.(Reader); ok && slices.ContainsFunc(f.Files(), func(file string) bool { return !storage.IsLocal(file) }) {
		return f.Check()
	}
	return r.Prepare()
}

// Moved are settings whose files on this machine are in the places that are given for them; those of a rule without files stay as they are.
func Moved(settings map[string]any, place func(file string) (string, error)) (map[string]any, error) {
	r, err := decode(settings)
	f, ok := r.(Reader)
	if err != nil || !ok || len(f.Files()) == 0 {
		return settings, err
	}
	if err := f.Move(place); err != nil {
		return nil, fmt.Errorf("%s: %w", r.Name(), err)
	}
	raw, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Name(), err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("%s: %w", r.Name(), err)
	}
	out["rule"] = settings["rule"]
	return out, nil
}

// move is place for a file of this machine; what is on an object store stays there.
func move(file *string, place func(string) (string, error)) (err error) {
	if *file == "" || !storage.IsLocal(*file) {
		return nil
	}
	*file, err = place(*file)
	return err
}
