package rules

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// FineWebQuality holds the three filters found for FineWeb (Penedo et al. 2024, "The FineWeb Datasets: Decanting the Web for the Finest
// Text Data at Scale", arXiv:2406.17557, section 3.5) and the ratio of newlines. Blank lines are left out of the ratios of lines.
type FineWebQuality struct {
	LinePunctThr         float64  `yaml:"line_punct_thr" json:"line_punct_thr" help:"least fraction of lines that end in a terminal mark"`
	LinePunctExcludeZero bool     `yaml:"line_punct_exclude_zero" json:"line_punct_exclude_zero" help:"a document without any such line passes"`
	StopChars            []string `yaml:"stop_chars" json:"stop_chars" help:"marks that end a line; empty for the reference's"`
	ShortLineThr         float64  `yaml:"short_line_thr" json:"short_line_thr" help:"largest fraction of short lines"`
	ShortLineLength      int      `yaml:"short_line_length" json:"short_line_length" help:"code points up to which a line is short"`
	CharDuplicatesRatio  float64  `yaml:"char_duplicates_ratio" json:"char_duplicates_ratio" help:"largest fraction of characters in repeated lines"`
	NewLineRatio         float64  `yaml:"new_line_ratio" json:"new_line_ratio" help:"largest ratio of newlines to words"`
}

// fineWebTable holds the thresholds of section 3.5 of the paper.
var fineWebTable = FineWebQuality{LinePunctThr: 0.12, ShortLineThr: 0.67, ShortLineLength: 30, CharDuplicatesRatio: 0.01, NewLineRatio: 0.3}

// NewFineWebQuality returns the rule as published.
func NewFineWebQuality() *FineWebQuality { r := fineWebTable; return &r }

// Name is "fineweb_quality".
func (*FineWebQuality) Name() string { return "fineweb_quality" }

// Prepare checks the settings.
func (f *FineWebQuality) Prepare() error {
	for _, s := range f.StopChars {
		if s == "" {
			return fmt.Errorf("fineweb_quality: stop_chars has an empty string, which every line ends with")
		}
	}
	return nil
}

func (f *FineWebQuality) ends(line string) bool {
	if len(f.StopChars) == 0 {
		r, _ := utf8.DecodeLastRuneInString(line)
		return terminal.has(r)
	}
	for _, s := range f.StopChars {
		if strings.HasSuffix(line, s) {
			return true
		}
	}
	return false
}

// Apply tests the ends of lines, short lines, duplicate lines and newlines, in this order.
func (f *FineWebQuality) Apply(d *Doc) Verdict {
	lines := make([]string, 0, strings.Count(d.Text, "\n")+1)
	ends, short := 0, 0
	for l := range strings.SplitSeq(d.Text, "\n") {
		if lstrip(l) == "" {
			continue
		}
		lines = append(lines, l)
		if f.ends(l) {
			ends++
		}
		if utf8.RuneCountInString(l) <= f.ShortLineLength {
			short++
		}
	}
	if len(lines) == 0 {
		return drop("empty", 0, 1)
	}
	n := float64(len(lines))
	if x := float64(ends) / n; x < f.LinePunctThr && !(ends == 0 && f.LinePunctExcludeZero) {
		return drop("line_punct_ratio", x, f.LinePunctThr)
	}
	if x := float64(short) / n; x > f.ShortLineThr {
		return drop("short_line_ratio", x, f.ShortLineThr)
	}
	newlines := strings.Count(d.Text, "\n")
	_, chars := duplicates(lines)
	if x := float64(chars) / float64(utf8.RuneCountInString(d.Text)-newlines); x > f.CharDuplicatesRatio {
		return drop("char_dup_ratio", x, f.CharDuplicatesRatio)
	}
	words := len(d.Words())
	if words == 0 {
		return drop("empty", 0, 1)
	}
	if x := float64(newlines) / float64(words); x > f.NewLineRatio {
		return drop("list_ratio", x, f.NewLineRatio)
	}
	return keep(d)
}
