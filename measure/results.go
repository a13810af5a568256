package measure

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/evaluate"
)

// Results are what was measured of a model. Runs keep them as records, with these keys.
type Results struct {
	Domain  *evaluate.Score `json:"domain,omitempty"`
	General *evaluate.Score `json:"general,omitempty"`
	Classes *ClassScore     `json:"classification,omitempty"`
	// OnAnswers: the score of Domain is on answers alone, as the labels of its rows say.
	OnAnswers bool            `json:"on_answers,omitempty"`
	Answers   *evaluate.Match `json:"answers,omitempty"` // of held-out questions
	Samples   []Sample        `json:"samples,omitempty"`
	// Translation is of all held-out rows, where there are no named sources.
	Translation *Translation  `json:"translation,omitempty"`
	Sources     []SourceScore `json:"sources,omitempty"` // of named sources; Domain is all of them together
	// More is what measures found that have no field above, by name.
	More map[string][]Line `json:"-"`
}

// Line is what a measure found of something: a set of text, a class, or the model as a whole.
type Line struct {
	Name    string  `json:"name,omitempty"` // of what; "" for the model as a whole
	Numbers Numbers `json:"numbers"`
	Note    string  `json:"note,omitempty"` // why a number is none
	// Card names the line in a model card; "" for its name. Lines of before and after are one where it is the same.
	Card string `json:"card,omitempty"`
	Of   string `json:"of,omitempty"` // how many were measured, for a model card: "of 12 questions"
}

// Numbers are values by the name of the measure's column. A column that a line lacks is not printed for it; NaN is printed as none.
type Numbers map[string]float64

// UnmarshalJSON implements json.Unmarshaler: records have null for NaN.
func (n *Numbers) UnmarshalJSON(b []byte) error {
	var all map[string]*float64
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	*n = Numbers{}
	for name, x := range all {
		if (*n)[name] = math.NaN(); x != nil {
			(*n)[name] = *x
		}
	}
	return nil
}

// Add adds a line of a measure that has no field in the results.
func (r *Results) Add(m *Measure, l Line) {
	for name := range l.Numbers {
		m.column(name)
	}
	if r.More == nil {
		r.More = map[string][]Line{}
	}
	r.More[m.Name] = append(r.More[m.Name], l)
}

// MarshalJSON implements json.Marshaler: what was added stands beside the fields.
func (r Results) MarshalJSON() ([]byte, error) {
	type plain Results
	return beside(plain(r), r.More)
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Results) UnmarshalJSON(b []byte) error {
	type plain Results
	if err := json.Unmarshal(b, (*plain)(r)); err != nil {
		return err
	}
	return others(b, *r, &r.More)
}

// beside is v, a struct, as JSON, with the entries of more behind its fields.
func beside[V any](v any, more map[string]V) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil || len(more) == 0 {
		return b, err
	}
	m, err := json.Marshal(more)
	if err != nil {
		return nil, err
	}
	if b = bytes.TrimSuffix(b, []byte("}")); len(b) > 1 {
		b = append(b, ',')
	}
	return append(b, m[1:]...), nil
}

// others reads the entries of an object that the struct v has no field for.
func others[V any](b []byte, v any, to *map[string]V) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	t := reflect.TypeOf(v)
	var fields []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		fields = append(fields, name)
	}
	for name, raw := range all {
		if slices.Contains(fields, name) {
			continue
		}
		var x V
		if err := json.Unmarshal(raw, &x); err != nil {
			return err
		}
		if *to == nil {
			*to = map[string]V{}
		}
		(*to)[name] = x
	}
	return nil
}
