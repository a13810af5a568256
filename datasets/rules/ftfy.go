package rules

import (
	_ "embed"
	"fmt"
	"html"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// FTFY repairs mojibake, text that was decoded in the wrong encoding, as ftfy does (Speer 2019, "ftfy", version 6.3), and what usually
// comes with it. The defaults are those of datatrove's formatter, which leaves widths, quotes, ligatures and line breaks alone. Each line
// is repaired on its own.
type FTFY struct {
	UnescapeHTML           string `yaml:"unescape_html" json:"unescape_html" help:"entities such as &amp; are resolved: true, false, or auto, in lines up to the first with a <"`
	RemoveTerminalEscapes  bool   `yaml:"remove_terminal_escapes" json:"remove_terminal_escapes" help:"escape sequences of terminals are taken out"`
	FixEncoding            bool   `yaml:"fix_encoding" json:"fix_encoding" help:"text that was decoded by a wrong encoding is repaired"`
	RestoreByteA0          bool   `yaml:"restore_byte_a0" json:"restore_byte_a0" help:"a space in place of the byte A0 is taken for it in that repair"`
	ReplaceLossySequences  bool   `yaml:"replace_lossy_sequences" json:"replace_lossy_sequences" help:"sequences of which a byte was lost become one replacement character"`
	DecodeInconsistentUTF8 bool   `yaml:"decode_inconsistent_utf8" json:"decode_inconsistent_utf8" help:"parts of a text are repaired that the rest is not encoded as"`
	FixC1Controls          bool   `yaml:"fix_c1_controls" json:"fix_c1_controls" help:"C1 control characters are read as Windows-1252"`
	FixLatinLigatures      bool   `yaml:"fix_latin_ligatures" json:"fix_latin_ligatures" help:"ligatures such as ﬁ are taken apart"`
	FixCharacterWidth      bool   `yaml:"fix_character_width" json:"fix_character_width" help:"full-width and half-width forms become ordinary ones"`
	UncurlQuotes           bool   `yaml:"uncurl_quotes" json:"uncurl_quotes" help:"curly quotation marks become straight ones"`
	FixLineBreaks          bool   `yaml:"fix_line_breaks" json:"fix_line_breaks" help:"all line breaks become line feeds"`
	RemoveControlChars     bool   `yaml:"remove_control_chars" json:"remove_control_chars" help:"control characters are taken out"`
	Normalization          string `yaml:"normalization" json:"normalization" help:"Unicode's form of the text: NFC, NFD, NFKC or NFKD; empty for none"`
}

// NewFTFY returns the defaults of datatrove's formatter.
func NewFTFY() *FTFY {
	return &FTFY{UnescapeHTML: "auto", RemoveTerminalEscapes: true, FixEncoding: true, RestoreByteA0: true, ReplaceLossySequences: true,
		DecodeInconsistentUTF8: true, FixC1Controls: true, RemoveControlChars: true}
}

// Name is "ftfy".
func (*FTFY) Name() string { return "ftfy" }

// Prepare checks the settings.
func (f *FTFY) Prepare() error {
	if f.UnescapeHTML != "auto" && f.UnescapeHTML != "true" && f.UnescapeHTML != "false" {
		return fmt.Errorf("ftfy: unescape_html %q is unknown; it is auto, true or false", f.UnescapeHTML)
	}
	if _, ok := normForms[f.Normalization]; !ok && f.Normalization != "" {
		return fmt.Errorf("ftfy: normalization %q is unknown; it is NFC, NFD, NFKC, NFKD or empty", f.Normalization)
	}
	loadMojibake()
	return nil
}

var normForms = map[string]norm.Form{"NFC": norm.NFC, "NFD": norm.NFD, "NFKC": norm.NFKC, "NFKD": norm.NFKD}

// maxSegment is ftfy's max_decode_length, code points.
const maxSegment = 1000000

// Apply repairs line by line.
func (f *FTFY) Apply(d *Doc) Verdict {
	unescape := f.UnescapeHTML != "false"
	var b strings.Builder
	b.Grow(len(d.Text))
	for rest := d.Text; rest != ""; {
		end := strings.IndexByte(rest, '\n') + 1
		if end == 0 {
			end = len(rest)
		}
		if end > maxSegment && utf8.RuneCountInString(rest[:end]) > maxSegment {
			end = 0
			for range maxSegment {
				_, w := utf8.DecodeRuneInString(rest[end:])
				end += w
			}
		}
		if f.UnescapeHTML == "auto" && strings.Contains(rest[:end], "<") {
			unescape = false
		}
		b.WriteString(f.segment(rest[:end], unescape))
		rest = rest[end:]
	}
	v := Verdict{Keep: true, Text: b.String()}
	if v.Text != d.Text {
		v.Counters = []Counter{{"repaired", 1}}
	}
	return v
}

// segment applies the fixes until nothing changes.
func (f *FTFY) segment(text string, unescape bool) string {
	if (!unescape || strings.IndexByte(text, '&') < 0) && plainASCII(text) {
		return text
	}
	for {
		next := f.once(text, unescape)
		if next == text {
			return text
		}
		text = next
	}
}

// plainASCII says that a text is ASCII without controls and escapes, which is as it should be.
func plainASCII(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < ' ' || c >= 0x7f) && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}

// control says that a character is a control character without a use in text.
func control(r rune) bool {
	return r < 9 || r == 11 || r >= 14 && r < 32 || r == 0x7f || r >= 0x206a && r <= 0x206f || r == 0xfeff || r >= 0xfff9 && r <= 0xfffc
}

// once applies each fix that is on.
func (f *FTFY) once(text string, unescape bool) string {
	for _, fix := range [...]struct {
		on  bool
		fix func(string) string
	}{
		{unescape, unescapeHTML}, {f.FixEncoding, f.fixEncoding}, {f.FixC1Controls, fixC1}, {f.FixLatinLigatures, ligatures.Replace},
		{f.FixCharacterWidth, fixWidth}, {f.UncurlQuotes, straight.Replace}, {f.FixLineBreaks, lineBreaks.Replace},
	} {
		if fix.on {
			text = fix.fix(text)
		}
	}
	if f.RemoveTerminalEscapes && strings.IndexByte(text, 0x1b) >= 0 {
		text = ansi.ReplaceAllString(text, "")
	}
	if f.RemoveControlChars {
		text = strings.Map(func(r rune) rune {
			if control(r) {
				return -1
			}
			return r
		}, text)
	}
	if n, ok := normForms[f.Normalization]; ok {
		text = n.String(text)
	}
	return text
}

var (
	entity     = regexp.MustCompile(`&#?[0-9A-Za-z]{1,24};`)
	ansi       = regexp.MustCompile("\x1b\\[((?:[0-9]|;)*)([a-zA-Z])")
	straight   = strings.NewReplacer("\u02bc", "'", "‘", "'", "’", "'", "‚", "'", "‛", "'", "“", `"`, "”", `"`, "„", `"`, "‟", `"`)
	lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n", "\u0085", "\n")
	ligatures  = strings.NewReplacer("Ĳ", "IJ", "ĳ", "ij", "ŉ", "ʼn", "Ǳ", "DZ", "ǲ", "Dz", "ǳ", "dz", "Ǆ", "DŽ", "ǅ", "Dž", "ǆ", "dž",
		"Ǉ", "LJ", "ǈ", "Lj",
		"ǉ", "lj", "Ǌ", "NJ", "ǋ", "Nj", "ǌ", "nj", "ﬀ", "ff", "ﬁ", "fi", "ﬂ", "fl", "ﬃ", "ffi", "ﬄ", "ffl", "ﬅ", "ſt", "ﬆ", "st")
)

// unescapeHTML decodes entities that end in a semicolon; of names in capitals those whose small letters are a name.
func unescapeHTML(text string) string {
	if strings.IndexByte(text, '&') < 0 {
		return text
	}
	return entity.ReplaceAllStringFunc(text, func(e string) string {
		got := html.UnescapeString(e)
		if got != e {
			if strings.HasSuffix(got, ";") && e != "&semi;" {
				return e // only a part was an entity
			}
			return got
		}
		if low := strings.ToLower(e); low != e && strings.ToUpper(low) == e && e[1] != '#' {
			if got := html.UnescapeString(low); got != low && !strings.HasSuffix(got, ";") {
				return strings.ToUpper(strings.ReplaceAll(got, "ß", "SS"))
			}
		}
		return e
	})
}
