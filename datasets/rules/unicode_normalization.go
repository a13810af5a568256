package rules

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// UnicodeNormalization brings text to one form (Unicode Standard Annex 15), so that equal text is equal bytes: composed characters, no
// marks that show nothing, one kind of space.
type UnicodeNormalization struct {
	Form            string `yaml:"form" json:"form" help:"Unicode's form of the text: NFC, NFD, NFKC, NFKD or none"`
	FixWidth        bool   `yaml:"fix_character_width" json:"fix_character_width" help:"full-width and half-width forms become ordinary ones"`
	RemoveInvisible bool   `yaml:"remove_invisible" json:"remove_invisible" help:"byte order marks, zero-width spaces, soft hyphens, direction marks are taken out"`
	RemoveControls  bool   `yaml:"remove_control_chars" json:"remove_control_chars" help:"control characters are taken out"`
	NormalizeSpaces bool   `yaml:"normalize_spaces" json:"normalize_spaces" help:"no-break and other spaces of a width become a space"`

	form *norm.Form
}

// NewUnicodeNormalization composes and takes out what shows nothing.
func NewUnicodeNormalization() *UnicodeNormalization {
	return &UnicodeNormalization{Form: "NFC", RemoveInvisible: true, RemoveControls: true, NormalizeSpaces: true}
}

// Name is "unicode_normalization".
func (*UnicodeNormalization) Name() string { return "unicode_normalization" }

// Prepare checks the form.
func (u *UnicodeNormalization) Prepare() error {
	forms := map[string]norm.Form{"NFC": norm.NFC, "NFD": norm.NFD, "NFKC": norm.NFKC, "NFKD": norm.NFKD}
	if f, ok := forms[u.Form]; ok {
		u.form = &f
	} else if u.Form != "none" && u.Form != "" {
		return fmt.Errorf("unicode_normalization: form %q is unknown; it is NFC, NFD, NFKC, NFKD or none", u.Form)
	}
	return nil
}

// invisible shows nothing and joins nothing. The joiners U+200C and U+200D, which some scripts and emoji need, stay between other
// characters.
func invisible(r rune) bool {
	switch {
	case r == 0xfeff, r == 0x200b, r == 0xad, r == 0x2060, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069,
		r >= 0x206a && r <= 0x206f:
		return true
	}
	return false
}

// Apply rewrites the text.
func (u *UnicodeNormalization) Apply(d *Doc) Verdict {
	text := strings.Map(func(r rune) rune {
		switch {
		case r < 0x7f && r >= ' ', r == '\n', r == '\t':
			return r
		case r == '\r':
			return r
		case u.RemoveInvisible && invisible(r):
			return -1
		case u.RemoveControls && unicode.Is(unicode.Cc, r) && r != 0x85 && r != '\f':
			return -1
		case u.NormalizeSpaces && unicode.Is(unicode.Zs, r) && r != 0x3000:
			return ' '
		}
		return r
	}, d.Text)
	if u.FixWidth {
		text = fixWidth(text)
	}
	if u.form != nil {
		text = u.form.String(text)
	}
	if strip(text) == "" && strip(d.Text) != "" {
		return drop("empty", 0, 1)
	}
	return Verdict{Keep: true, Text: text}
}

// fixWidth replaces full-width and half-width forms and the ideographic space.
func fixWidth(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == 0x3000:
			b.WriteByte(' ')
		case r >= 0xff01 && r < 0xfff0:
			b.WriteString(norm.NFKC.String(string(r)))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
