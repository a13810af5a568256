package measure

import (
	"context"
	"fmt"
)

// Measure is a row of the table: something that is measured of a model.
type Measure struct {
	Name string // its key in records and metrics.json
	Doc  string // what it says of a model
	// Title begins a table of its own in a report, given what was measured after training; nil goes on in the table of the measure before.
	Title func(*Results) string
	// Columns are its numbers.
	Columns []Column
	// When says whether it is measured: what the settings ask for and the model and the data have.
	When func(*Input) bool
	// Run measures and puts what it finds into the results, with [Results.Add] where they have no field for it. Where nothing can
	// be measured it tells in.Say why and returns nil.
	Run func(ctx context.Context, in *Input, out *Results) error
	// Parts and Part take apart a measure that adds up over shards: the parts are measured anywhere, each by Part, whose result travels as
	// JSON, and Run puts together what [Input.Pieces] gives it. Both are nil for one that is measured as a whole.
	Parts func(in *Input) ([]Part, error)
	Part  func(ctx context.Context, in *Input, p Part) (any, error)
	// Lines are what it found, to be printed; nil for what was added.
	Lines func(*Results) []Line
	// Settings makes the settings of a measure that [Register] adds, at their defaults: a pointer to a struct whose fields have their name
	// in the tags yaml and json, and a line in the tag help. nil for none.
	Settings func() any

	registered bool
}

// Column is a number of a measure.
type Column struct {
	Name     string
	Format   string // of package fmt, for the number; "%.1f" of percents where it is empty
	Better   Better
	Percent  bool // shares, which are printed as percents
	Relative bool // a change is a share of the number before, else the difference
	Show     Show
}

// Better is the direction in which a number gets better.
type Better int

// The directions.
const (
	Neither Better = iota
	Lower
	Higher
)

// Show says where a number is printed.
type Show int

// The places: Everywhere; OnPage, not in the table of a terminal; Folded, on a page that is opened; Alone, where one model's
// numbers stand alone.
const (
	Everywhere Show = iota
	OnPage
	Folded
	Alone
)

// Measures is the table of measures, in the order in which they are measured and printed. A program adds its own by [Register].
var Measures = []*Measure{
	&perplexity,
	&classes,
	&preferences,
	&answers,
	&responses,
	&translation,
	&rewarded,
	&samples,
}

// Run measures a model by every row of the table that the input asks for. pieces are what was found of all [Parts]; without them these are
// measured here, too.
func Run(ctx context.Context, in *Input, pieces ...Piece) (*Results, error) {
	in.shown, in.given = nil, pieces
	out := &Results{}
	for _, m := range Measures {
		if in.Row = m; !m.When(in) {
			continue
		}
		if err := m.Run(ctx, in, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// lines are what a measure found.
func (m *Measure) lines(r *Results) []Line {
	if r == nil {
		return nil
	}
	if m.Lines == nil {
		return r.More[m.Name]
	}
	return m.Lines(r)
}

// column is the column of a name.
func (m *Measure) column(name string) *Column {
	for i := range m.Columns {
		if m.Columns[i].Name == name {
			return &m.Columns[i]
		}
	}
	panic(fmt.Sprintf("measure: %s has no column %q", m.Name, name))
}
