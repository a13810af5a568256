package dedupe

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/internal/settings"
)

// Step is a way of finding repetitions across a corpus. Its settings are its exported fields. Prepare is called once before anything else;
// after it the other methods may be called from several goroutines.
type Step interface {
	// Name is the name in recipes and in dead letters.
	Name() string
	Prepare() error
	// Layout is how many sections of keys of how many bytes a document is signed by, and whether documents are removed by clusters of what
	// shares a key (true) or each after the first of its key (false).
	Layout() (sections, key int, clusters bool)
	// Sign appends the document's records to the sections: the key, then the order of [Hashed] or of [ID].
	Sign(sections [][]byte, id ID, text string, s rules.Splitter)
	// Remove takes the parts out of a text and returns what is left, or why the document goes.
	Remove(text string, parts []uint32, s rules.Splitter) rules.Verdict
	// Index are the folders of an index to compare with and of the one to write.
	Index() *IndexConfig
}

// IndexConfig makes deduplication incremental: what an earlier run has seen counts as the first occurrence.
type IndexConfig struct {
	IndexFolder     string `yaml:"index_folder" json:"index_folder,omitempty" help:"folder of the index of an earlier run, whose documents count as the first; empty for none"`
	SaveIndexFolder string `yaml:"save_index_folder" json:"save_index_folder,omitempty" help:"folder to which this run writes an index, with what the earlier one has; empty for none"`
}

// Index implements [Step].
func (c *IndexConfig) Index() *IndexConfig { return c }

func (c *IndexConfig) validate(name string) error {
	if c.IndexFolder != "" && c.IndexFolder == c.SaveIndexFolder {
		return fmt.Errorf("%s: index_folder and save_index_folder are the same; an index is never changed, write the new one to a folder "+
			"of its own", name)
	}
	return nil
}

// Entry is a step by name.
type Entry struct {
	Name   string
	New    func() Step // with the reference's defaults
	Source string      // where it and its numbers come from
}

// Table lists every step.
var Table = []Entry{
	{"exact", func() Step { return NewExact() }, "datatrove's exact deduplication"},
	{"paragraphs", func() Step { return NewParagraphs() }, "Wenzek et al. 2020 (CCNet), 3.1"},
	{"sentences", func() Step { return NewSentences() }, "Raffel et al. 2020, 2.2; datatrove's sentence deduplication"},
	{"minhash", func() Step { return NewMinHashStep() }, "Broder 1997; Penedo et al. 2024, 3.4"},
}

// Decode makes a step of its settings, whose key "rule" is the step's name; it is prepared. An unknown key is an error.
func Decode(said map[string]any) (Step, error) {
	name, rest, err := rules.Named(said, "deduplication step")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range Table {
		if e.Name == name {
			s := e.New()
			if err := settings.Strict(rest, s, name); err != nil {
				return nil, err
			}
			return s, s.Prepare()
		}
		names = append(names, e.Name)
	}
	return nil, rules.Unknown("deduplication step", name, names)
}

// DecodeJSON is [Decode] of a JSON object.
func DecodeJSON(text string) (Step, error) {
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("deduplication step: %w", err)
	}
	return Decode(m)
}

// appendHashed appends a record of a hash: the hash, then datatrove's order (position, file, part).
func appendHashed(b []byte, hash uint64, id ID, part uint32) []byte {
	b = binary.BigEndian.AppendUint64(b, hash)
	b = binary.BigEndian.AppendUint32(b, id.Doc)
	b = binary.BigEndian.AppendUint32(b, id.File)
	return binary.BigEndian.AppendUint32(b, part)
}

const hashedTail = 12 // bytes of a hashed record after its key
const signedTail = 8  // bytes of a signed record after its key: the ID

func appendID(b []byte, id ID) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, id.File), id.Doc)
}

func readID(b []byte) ID { return ID{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])} }

// Width is the bytes of a record of a step's runs.
func Width(s Step) int {
	_, key, clusters := s.Layout()
	if clusters {
		return key + signedTail
	}
	return key + hashedTail
}

// whole drops a document that repeats another as a whole.
func whole() rules.Verdict { return rules.Verdict{Reason: "duplicate"} }
