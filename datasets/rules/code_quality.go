package rules

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CodeQuality drops files that no one wrote by hand, as data, minified and generated code are: by the length of their lines and their share
// of letters and digits (Chen et al. 2021, "Evaluating Large Language Models Trained on Code", arXiv:2107.03374, section 3.1) and of
// letters (Li et al. 2023, "StarCoder: may the source be with you!", arXiv:2305.06161, section 3.1). A threshold of 0 turns its test off.
type CodeQuality struct {
	MaxAvgLineLength   float64 `yaml:"max_avg_line_length" json:"max_avg_line_length" help:"characters that its lines may have on average"`
	MaxLineLength      int     `yaml:"max_line_length" json:"max_line_length" help:"characters that a line may have"`
	MinAlphanumFrac    float64 `yaml:"min_alphanum_frac" json:"min_alphanum_frac" help:"least fraction of characters that are letters or digits"`
	MinAlphaFrac       float64 `yaml:"min_alpha_frac" json:"min_alpha_frac" help:"least fraction of characters that are letters"`
	MaxUnbrokenLetters int     `yaml:"max_unbroken" json:"max_unbroken" help:"characters of the longest run of letters, digits, + and /, such as of base64"`
}

// codeQualityTable holds the papers' numbers, and of long runs that of a line of base64 and more.
var codeQualityTable = CodeQuality{MaxAvgLineLength: 100, MaxLineLength: 1000, MinAlphanumFrac: 0.25, MinAlphaFrac: 0.25,
	MaxUnbrokenLetters: 400}

// NewCodeQuality returns the rule as published.
func NewCodeQuality() *CodeQuality { r := codeQualityTable; return &r }

// Name is "code_quality".
func (*CodeQuality) Name() string { return "code_quality" }

// Prepare checks the settings.
func (c *CodeQuality) Prepare() error {
	if c.MaxAvgLineLength < 0 || c.MaxLineLength < 0 || c.MaxUnbrokenLetters < 0 || c.MinAlphanumFrac < 0 || c.MinAlphanumFrac > 1 ||
		c.MinAlphaFrac < 0 || c.MinAlphaFrac > 1 {
		return fmt.Errorf("code_quality: lengths are not negative, and fractions from 0 to 1")
	}
	return nil
}

// Apply tests lengths of lines, letters and digits, and unbroken runs, in this order.
func (c *CodeQuality) Apply(d *Doc) Verdict {
	lines := splitLines(d.Text)
	chars, longest := 0, 0
	for _, l := range lines {
		n := utf8.RuneCountInString(l)
		chars, longest = chars+n, max(longest, n)
	}
	if chars == 0 {
		return drop("empty", 0, 1)
	}
	if x := float64(chars) / float64(len(lines)); c.MaxAvgLineLength != 0 && x > c.MaxAvgLineLength {
		return drop("avg_line_length", x, c.MaxAvgLineLength)
	}
	if c.MaxLineLength != 0 && longest > c.MaxLineLength {
		return drop("line_length", float64(longest), float64(c.MaxLineLength))
	}
	letters, digits, run, unbroken := 0, 0, 0, 0
	for _, r := range d.Text {
		letter := unicode.IsLetter(r)
		switch {
		case letter:
			letters++
		case unicode.IsNumber(r):
			digits++
		}
		if r < utf8.RuneSelf && (letter || isDigit(byte(r)) || strings.ContainsRune("+/", r)) {
			run++
		} else {
			run = 0
		}
		unbroken = max(unbroken, run)
	}
	n := float64(utf8.RuneCountInString(d.Text))
	if x := float64(letters+digits) / n; x < c.MinAlphanumFrac {
		return drop("alphanum_frac", x, c.MinAlphanumFrac)
	}
	if x := float64(letters) / n; x < c.MinAlphaFrac {
		return drop("alpha_frac", x, c.MinAlphaFrac)
	}
	if c.MaxUnbrokenLetters != 0 && unbroken > c.MaxUnbrokenLetters {
		return drop("unbroken", float64(unbroken), float64(c.MaxUnbrokenLetters))
	}
	return keep(d)
}
