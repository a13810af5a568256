package dedupe

import "github.com/adaptflow/adaptflow/datasets/rules"

// Exact finds documents whose whole text is equal. The one kept has the lowest position in its file, whichever the file, as datatrove's.
type Exact struct {
	// Normalize compares texts without case, marks, accents and numbers ([rules.Simplify]).
	Normalize  bool       `yaml:"normalize" json:"normalize" help:"texts are compared without case, marks, accents and numbers"`
	HashConfig HashConfig `yaml:"hash_config" json:"hash_config" help:"the hash function"`
	IndexConfig
}

// NewExact returns datatrove's settings.
func NewExact() *Exact { return &Exact{HashConfig: HashConfig{XXHash}} }

// Name is "exact".
func (*Exact) Name() string { return "exact" }

// Prepare checks the settings.
func (e *Exact) Prepare() error {
	if err := e.IndexConfig.validate("exact"); err != nil {
		return err
	}
	return e.HashConfig.Validate()
}

// Layout is one section of 64-bit hashes.
func (*Exact) Layout() (int, int, bool) { return 1, 8, false }

// Sign hashes the text.
func (e *Exact) Sign(sections [][]byte, id ID, text string, _ rules.Splitter) {
	if e.Normalize {
		text = rules.Simplify(text)
	}
	sections[0] = appendHashed(sections[0], e.HashConfig.SumString(text), id, 0)
}

// Remove drops the document.
func (*Exact) Remove(string, []uint32, rules.Splitter) rules.Verdict { return whole() }
