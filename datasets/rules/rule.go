package rules

import (
	"fmt"
	"strconv"
)

// Span is a part of a text, in bytes.
type Span struct{ Start, End int }

// Splitter cuts text into words and sentences.
type Splitter interface {
	// Words are the words of the text, punctuation marks among them; white space is left out.
	Words(text string) []string
	// Sentences are the sentences in order. White space between two belongs to neither.
	Sentences(text string) []Span
}

// Doc is a document under examination. Its words are cut once and shared by the rules.
type Doc struct {
	Text     string
	URL      string // "" if it has none
	Splitter Splitter

	words []string
	cut   bool
	lang  *language       // found by spoken
	other map[string]*Doc // the document as it is cut by the splitter of another language, by code
}

// Words are the words of the text. The caller must not change them.
func (d *Doc) Words() []string {
	if !d.cut {
		d.words, d.cut = d.Splitter.Words(d.Text), true
	}
	return d.words
}

// SetText replaces the text.
func (d *Doc) SetText(text string) {
	if text != d.Text {
		d.Text, d.words, d.cut, d.lang, d.other = text, nil, false, nil, nil
	}
}

// Counter is something a rule counted inside a document, such as the lines it left out.
type Counter struct {
	Name string
	N    int
}

// Verdict is what a rule says of a document.
type Verdict struct {
	Keep      bool
	Reason    string // why it is dropped; "" when kept
	Value     string // what was found
	Threshold string // what was wanted
	Text      string // the text to go on with, when kept; as it was unless the rule repairs
	Counters  []Counter
}

// Rule is a cleaning rule with its settings, which are its exported fields. Prepare is called once before the first Apply; after it, Apply
// may be called from several goroutines with different documents.
type Rule interface {
	// Name is the name in recipes and in dead letters.
	Name() string
	// Prepare checks the settings and builds what Apply needs.
	Prepare() error
	// Apply judges the document, which it does not change.
	Apply(d *Doc) Verdict
}

// language is the language that the text is written in.
func (d *Doc) language() *language {
	if d.lang == nil {
		d.lang = spoken(d.Text)
	}
	return d.lang
}

// as is the document with the splitter of a language, which is made once; the document itself where there is none.
func (d *Doc) as(code string, splitter func(code string) (Splitter, error)) *Doc {
	if splitter == nil {
		return d
	}
	if o := d.other[code]; o != nil {
		return o
	}
	s, err := splitter(code)
	if err != nil || s == d.Splitter {
		return d
	}
	if d.other == nil {
		d.other = map[string]*Doc{}
	}
	d.other[code] = &Doc{Text: d.Text, URL: d.URL, Splitter: s, lang: d.lang}
	return d.other[code]
}

// Tools are what some rules need beside their settings, and what is too large for a program that only checks settings.
type Tools struct {
	Languages NewIdentifier                           // of the rule language: langid.New, whose models are 120 MB of a program
	Words     func(language string) (Splitter, error) // of the profiles, which cut a text by its own language: words.For
}

// User is a rule that applies tools: Use gives it them after Prepare and before the first Apply.
type User interface {
	Use(Tools) error
}

// Entry is a rule by name.
type Entry struct {
	Name  string
	New   func() Rule // with the reference's defaults
	Paper string      // where the rule and its numbers come from
}

// Register adds a rule of a program's own to [Table], so that recipes, [Decode] and the transforms of cleaning know its name. It is called
// from an init function, for workers are the same program. A name that is there already is a fault of the program: it panics, as does an
// entry without a name or a constructor.
func Register(e Entry) {
	if e.Name == "" || e.New == nil {
		panic("rules: Register: a rule has a name and a constructor")
	}
	if _, err := Find(e.Name); err == nil {
		panic(fmt.Sprintf("rules: Register: there is a rule %s already", e.Name))
	}
	Table = append(Table, e)
}

// Find returns the entry of a name of [Table].
func Find(name string) (Entry, error) {
	var names []string
	for _, e := range Table {
		if e.Name == name {
			return e, nil
		}
		names = append(names, e.Name)
	}
	return Entry{}, fmt.Errorf("cleaning rule %q is unknown; it is one of %v", name, names)
}

func keep(d *Doc) Verdict { return Verdict{Keep: true, Text: d.Text} }

func drop(reason string, value, threshold float64) Verdict {
	return Verdict{Reason: reason, Value: number(value), Threshold: number(threshold)}
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }

// Chain applies rules in order, each to the text as the one before left it. It returns the first rule that dropped the document (nil if
// none did) and its verdict, or the last one's.
func Chain(chain []Rule, d *Doc) (Rule, Verdict) {
	v := keep(d)
	for _, r := range chain {
		if v = r.Apply(d); !v.Keep {
			return r, v
		}
		d.SetText(v.Text)
	}
	return nil, v
}
