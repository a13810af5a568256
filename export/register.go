package export

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/internal/settings"
)

// reserved are the other folders of a run's output.
var reserved = []string{"shards", "eval", "rejects", "checkpoints", "stages", "init", "adapters", "versions", "increments", "replay",
	"heldout"}

// Register adds a format of a program's own to [Formats], behind those that are there, so that it may be made of their folders. It is
// written where the settings name it ([Config.Formats]), which is what Register sets When to. It is called from an init function, for
// workers are the same program. A name or a folder that is there already is a fault of the program: it panics, as does a row without a
// name, a folder, a line of Doc or Write.
func Register(f Format) {
	const caller = "export: Register"
	if f.Name == "" || f.Folder == "" || f.Doc == "" || f.Write == nil {
		panic(caller + ": a format has a name, a folder, a line of what is written (Doc), and Write")
	}
	if f.When != nil {
		panic(fmt.Sprintf("%s: the settings ask for %s by its name: leave When empty", caller, f.Name))
	}
	if !filepath.IsLocal(f.Folder) || filepath.Base(f.Folder) != f.Folder || f.Folder[0] == '.' || slices.Contains(reserved, f.Folder) {
		panic(fmt.Sprintf("%s: the folder %q of %s must be one of its own in the output folder of a run", caller, f.Folder, f.Name))
	}
	for _, o := range Formats {
		if o.Name == f.Name || o.Folder == f.Folder {
			panic(fmt.Sprintf("%s: there is a format %s with the folder %s already", caller, o.Name, o.Folder))
		}
	}
	if f.Takes == "" {
		f.Takes = "adapters of every method"
	}
	row := f.row()
	row.MustDescribe(caller)
	f.registered = true
	f.When = func(c *Config) bool { return c.Formats.Has(f.Name) }
	Formats = append(Formats, &f)
}

// row is the format as a list of the settings names it.
func (f *Format) row() settings.Row {
	r := settings.Row{Name: f.Name, Doc: f.Doc}
	if f.Settings != nil {
		r.Settings = f.Settings()
	}
	return r
}

// Own are the formats that settings may name: those that [Register] added.
func Own() (out []settings.Row) {
	for _, f := range Formats {
		if f.registered {
			out = append(out, f.row())
		}
	}
	return out
}

// CheckFormats says what is wrong with [Config.Formats].
func (c *Config) CheckFormats() error { return c.Formats.Check("format", Own()) }

// SettingsOf are those of a format that [Register] added: what its constructor made, with what the settings say over it; nil where it has
// none.
func (c *Config) SettingsOf(name string) (any, error) {
	i := slices.IndexFunc(Formats, func(f *Format) bool { return f.Name == name })
	if i < 0 || Formats[i].Settings == nil {
		return nil, nil
	}
	s := Formats[i].Settings()
	return s, c.Formats.Over(name, s)
}
