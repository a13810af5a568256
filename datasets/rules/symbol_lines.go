package rules

import "strings"

// SymbolLines takes out lines of punctuation marks alone, as datatrove's formatter of that name. Lines are Python's, joined by newlines, so
// that other separators become newlines and one at the end goes.
type SymbolLines struct {
	SymbolsToRemove string `yaml:"symbols_to_remove" json:"symbols_to_remove" help:"marks: lines of nothing else are taken out; empty for the reference's"`
	ReplaceChar     string `yaml:"replace_char" json:"replace_char" help:"what a run of such lines becomes"`

	set *runeSet
}

// NewSymbolLines returns the reference's settings.
func NewSymbolLines() *SymbolLines { return &SymbolLines{} }

// Name is "symbol_lines".
func (*SymbolLines) Name() string { return "symbol_lines" }

// Prepare builds the set of marks.
func (s *SymbolLines) Prepare() error {
	s.set = symbols
	if s.SymbolsToRemove != "" {
		s.set = newRuneSet(s.SymbolsToRemove)
	}
	return nil
}

// Apply goes through the lines.
func (s *SymbolLines) Apply(d *Doc) Verdict {
	var out []string
	removed, in := 0, false
	for _, line := range splitLines(d.Text) {
		if strip(line) == "" || strings.IndexFunc(line, func(r rune) bool { return r != ' ' && !s.set.has(r) }) >= 0 {
			out = append(out, line)
			in = false
			continue
		}
		removed++
		if !in && s.ReplaceChar != "" {
			out = append(out, s.ReplaceChar)
		}
		in = true
	}
	v := Verdict{Keep: true, Text: strings.Join(out, "\n")}
	if removed > 0 {
		v.Counters = []Counter{{"removed_lines", removed}}
	}
	if strip(v.Text) == "" && strip(d.Text) != "" {
		return drop("empty", 0, 1)
	}
	return v
}
