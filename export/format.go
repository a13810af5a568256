package export

import (
	"fmt"
	"path/filepath"

	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// Format is a row of the table: a form in which a trained adapter is written.
type Format struct {
	Name   string // of the format
	Folder string // in the output folder of a run
	Doc    string // what is written, and who reads it
	Takes  string // what it can be made of
	// When says whether the settings ask for it.
	When func(*Config) bool
	// Refuse says why an adapter cannot be written so, and what to do instead; nil where it can, as far as is known before it is trained.
	Refuse func(*peft.Adapter) error
	// Write writes it to a folder that does not exist, or that it replaces as a whole.
	Write func(s *Source, c *Config, to string) error
	// Settings makes the settings of a format that [Register] adds, at their defaults: a pointer to a struct whose fields have their name
	// in the tags yaml and json, and a line in the tag help. nil for none.
	Settings func() any

	registered bool
}

// Source is a trained adapter, and what it was trained over.
type Source struct {
	Base string // the base model's folder
	// Adapter with its values in the first slot of Params, and what is said of it; or nil, and Folder is the adapter's in HF
	// PEFT's format.
	Adapter *peft.Adapter
	Params  *nn.Params
	Card    peft.Card
	Folder  string
}

// Formats is the table of formats, in the order in which they are written: one may be made of the folder of another before it.
// A program adds its own by [Register].
var Formats = []*Format{
	&pefts,
	&merged,
	&ggufs,
	&ggufLora,
}

// Wanted are the formats that the settings ask for.
func Wanted(c *Config) (out []*Format) {
	for _, f := range Formats {
		if f.When(c) {
			out = append(out, f)
		}
	}
	return out
}

// Check refuses settings by which an adapter would be written in a format that cannot hold it.
func Check(c *Config, a *peft.Adapter) error {
	for _, f := range Wanted(c) {
		if f.Refuse == nil {
			continue
		}
		if err := f.Refuse(a); err != nil {
			return fmt.Errorf("export: %s: %w", f.Name, err)
		}
	}
	return nil
}

// Write writes an adapter in every format that the settings ask for, each to its folder in the folder output.
func Write(s *Source, c *Config, output string) error {
	if s.Adapter != nil {
		if err := Check(c, s.Adapter); err != nil {
			return err
		}
	}
	for _, f := range Wanted(c) {
		if err := f.Write(s, c, filepath.Join(output, f.Folder)); err != nil {
			return err
		}
	}
	return nil
}

// WriteAdapter writes an adapter in HF PEFT's format alone, to the folder to.
func WriteAdapter(s *Source, to string) error { return pefts.Write(s, nil, to) }
