package measure

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/settings"
)

// Register adds a measure of a program's own to [Measures], behind those that are there. It is measured where the settings name it
// ([Config.Measures]), and where its When, which may be nil, says so too. It is called from an init function, for workers are the same
// program. A name that is there already, or that is a key of [Results], is a fault of the program: it panics, as does a row without a name,
// a line of Doc, columns or Run, or with one of Parts and Part alone.
func Register(m Measure) {
	const caller = "measure: Register"
	if m.Name == "" || m.Doc == "" || len(m.Columns) == 0 || m.Run == nil {
		panic(caller + ": a measure has a name, a line of what it says (Doc), columns, and Run")
	}
	if (m.Parts == nil) != (m.Part == nil) {
		panic(fmt.Sprintf("%s: %s has one of Parts and Part: it is taken apart by both", caller, m.Name))
	}
	for i, c := range m.Columns {
		if c.Name == "" || slices.ContainsFunc(m.Columns[:i], func(o Column) bool { return o.Name == c.Name }) {
			panic(fmt.Sprintf("%s: column %d of %s has no name of its own", caller, i, m.Name))
		}
	}
	if slices.ContainsFunc(Measures, func(o *Measure) bool { return o.Name == m.Name }) {
		panic(fmt.Sprintf("%s: there is a measure %s already", caller, m.Name))
	}
	if slices.Contains(keysOf(Results{}), m.Name) || slices.Contains(keysOf(Changes{}), m.Name) {
		panic(fmt.Sprintf("%s: %s is the name of other results", caller, m.Name))
	}
	row := m.row()
	row.MustDescribe(caller)
	if m.Title == nil {
		m.Title = func(*Results) string { return m.Name }
	}
	m.registered = true
	when := m.When
	m.When = func(in *Input) bool { return in.Config.Measures.Has(m.Name) && (when == nil || when(in)) }
	Measures = append(Measures, &m)
}

// keysOf are the keys of a struct in JSON.
func keysOf(v any) (out []string) {
	t := reflect.TypeOf(v)
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		out = append(out, name)
	}
	return out
}

// row is the measure as a list of the settings names it.
func (m *Measure) row() settings.Row {
	r := settings.Row{Name: m.Name, Doc: m.Doc}
	if m.Settings != nil {
		r.Settings = m.Settings()
	}
	return r
}

// Own are the measures that settings may name: those that [Register] added.
func Own() (out []settings.Row) {
	for _, m := range Measures {
		if m.registered {
			out = append(out, m.row())
		}
	}
	return out
}

// CheckMeasures says what is wrong with [Config.Measures].
func (c *Config) CheckMeasures() error { return c.Measures.Check("measure", Own()) }

// Settings are those of the measure that is measured now ([Input.Row]): what its constructor made, with what the settings say over it; nil
// where it has none.
func (in *Input) Settings() (any, error) {
	if in.Row.Settings == nil {
		return nil, nil
	}
	s := in.Row.Settings()
	return s, in.Config.Measures.Over(in.Row.Name, s)
}
