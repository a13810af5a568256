package measure

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Row is a number before and after training, as a report prints it.
type Row struct {
	Name          string
	Column        *Column
	Before, After float64
	Note          string // why a number is none, and which

	card, of string
}

// Section is a table of a report.
type Section struct {
	Title string
	Rows  []Row
}

// Sections are the tables of all measures, in the order of [Measures].
func Sections(c *Changes) (out []Section) {
	before, after := c.sides()
	for _, m := range Measures {
		a := m.lines(after)
		if len(a) == 0 {
			continue
		}
		if m.Title != nil || len(out) == 0 {
			title := m.Name
			if m.Title != nil {
				title = m.Title(after)
			}
			out = append(out, Section{Title: title})
		}
		s := &out[len(out)-1]
		for _, b := range m.lines(before) {
			i := slices.IndexFunc(a, func(l Line) bool { return l.key() == b.key() })
			if i >= 0 {
				s.Rows = append(s.Rows, m.rows(&b, &a[i])...)
			}
		}
	}
	return out
}

func (l *Line) key() string {
	if l.Card != "" {
		return l.Card
	}
	return l.Name
}

// rows are the numbers of a line. The first is called as the line, the others have their columns' names beside it.
func (m *Measure) rows(b, a *Line) (out []Row) {
	for i := range m.Columns {
		c := &m.Columns[i]
		x, was := b.Numbers[c.Name]
		y, is := a.Numbers[c.Name]
		if !was || !is || c.Show == Alone {
			continue
		}
		r := Row{Name: a.Name, Column: c, Before: x, After: y, card: a.key(), of: a.Of}
		switch {
		case a.Name == "":
			r.Name, r.card = c.Name, c.Name
		case len(out) > 0:
			r.Name, r.card = fmt.Sprintf("%s (%s)", a.Name, c.Name), r.card+" ("+c.Name+")"
		default:
			if note := cmpOr(b.Note, a.Note); note != "" {
				r.Note = "no " + c.Name + ": " + note
			}
		}
		out = append(out, r)
	}
	return out
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// text prints a number, a dash for what is none.
func (c *Column) text(x float64) string {
	format := c.Format
	if c.Percent {
		x *= 100
		if format == "" {
			format = "%.1f"
		}
		format += " %%"
	}
	return Figure(format, x)
}

// Figure prints a number for people: a dash for what is none.
func Figure(format string, x float64) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "–"
	}
	return fmt.Sprintf(format, x)
}

// BeforeText is the number before training as text.
func (r Row) BeforeText() string { return r.Column.text(r.Before) }

// AfterText is that after training.
func (r Row) AfterText() string { return r.Column.text(r.After) }

// Change is how much the number grew: as a share, or by how much.
func (r Row) Change() string {
	c := r.Column
	switch {
	case c.Relative:
		return Figure("%+.1f %%", 100*(r.After/r.Before-1))
	case c.Percent:
		return Figure("%+.1f points", 100*(r.After-r.Before))
	}
	return Figure("%+"+strings.TrimPrefix(c.Format, "%"), r.After-r.Before)
}

// Print prints the tables for a person.
func Print(w io.Writer, sections []Section) {
	for i, s := range sections {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "  %-24s %12s %12s %12s\n  %s\n", s.Title, "before", "after", "change", strings.Repeat("-", 63))
		for _, r := range s.Rows {
			if r.Column.Show != Everywhere {
				continue
			}
			fmt.Fprintf(w, "  %-24s %12s %12s %12s\n", r.Name, r.BeforeText(), r.AfterText(), r.Change())
			if r.Note != "" {
				fmt.Fprintf(w, "    %s\n", r.Note)
			}
		}
	}
}

// Card are the numbers for a model card: what each is, and its values.
func Card(c *Changes) (out [][2]string) {
	for _, s := range Sections(c) {
		for _, r := range s.Rows {
			if r.Column.Show != Everywhere {
				continue
			}
			value := r.BeforeText() + " before, " + r.AfterText() + " after"
			if r.of != "" {
				value += ", " + r.of
			}
			out = append(out, [2]string{r.card, value})
		}
	}
	return out
}

// Summary are the numbers of one model, a line of text each for what was measured.
func Summary(r *Results) (out []string) {
	for _, m := range Measures {
		for _, l := range m.lines(r) {
			var parts []string
			for i := range m.Columns {
				c := &m.Columns[i]
				if x, ok := l.Numbers[c.Name]; ok && c.Show != Folded {
					parts = append(parts, c.Name+" "+c.text(x))
				}
			}
			if l.Note != "" {
				parts = []string{"no " + m.Columns[0].Name + ": " + l.Note}
			}
			if len(parts) > 0 {
				out = append(out, strings.TrimSpace(l.Name+"  "+strings.Join(parts, ", ")))
			}
		}
	}
	return out
}

// Open are the rows that a page shows at once.
func (s Section) Open() []Row {
	return slices.DeleteFunc(slices.Clone(s.Rows), func(r Row) bool { return r.Column.Show == Folded })
}

// Folded are those that it shows when they are asked for.
func (s Section) Folded() []Row {
	return slices.DeleteFunc(slices.Clone(s.Rows), func(r Row) bool { return r.Column.Show != Folded })
}
