package rules

import (
	"fmt"

	"github.com/adaptflow/adaptflow/datasets"
)

// Field keeps the rows whose fields meet all tests, such as "score >= 0.5". It sees the fields as the file has them, used or not: rows are
// tested as they are read, before any other rule, and what fails goes to the dead letters of reading, by the rule and its name. Rows of
// JSONL, JSON, CSV, TSV and Parquet have fields; lines and files of text have none and stay.
type Field struct {
	Tests   []string `yaml:"tests" json:"tests" help:"comparisons that must all hold, as score >= 0.5, lang in [en, de] or meta.stars > 10; the operators are ==, !=, <, <=, >, >=, in, not in"`
	Missing string   `yaml:"missing" json:"missing" help:"what becomes of a row without the field: drop or keep"`
	Label   string   `yaml:"name" json:"name" help:"the reason in dead letters and counters; empty for field"`
}

// NewField drops rows without the field.
func NewField() *Field { return &Field{Missing: "drop"} }

// Name is "field".
func (*Field) Name() string { return "field" }

// Prepare checks the tests.
func (f *Field) Prepare() error {
	if len(f.Tests) == 0 {
		return fmt.Errorf("field: tests names none; write what must hold, such as [score >= 0.5]")
	}
	if f.Missing != "drop" && f.Missing != "keep" {
		return fmt.Errorf("field: missing is %q; it is drop or keep", f.Missing)
	}
	for _, text := range f.Tests {
		if _, err := datasets.ParseFieldTest(text); err != nil {
			return fmt.Errorf("field: %w", err)
		}
	}
	return labelled(f.Name(), f.Label)
}

// Where is the condition that rows are read by.
func (f *Field) Where() datasets.Where {
	return datasets.Where{Rule: f.Name(), Reason: reasonOf(f.Label, f.Name()), Tests: f.Tests, Missing: f.Missing == "keep"}
}

// Apply keeps the document: its row was tested when it was read.
func (f *Field) Apply(d *Doc) Verdict { return keep(d) }

// Conditions are those of the rules field among steps of cleaning, which rows are read by. The steps were checked.
func Conditions(steps Steps) (out []datasets.Where) {
	for _, s := range steps {
		if r, err := decode(s); err == nil {
			if f, ok := r.(*Field); ok {
				out = append(out, f.Where())
			}
		}
	}
	return out
}
