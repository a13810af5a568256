package ingest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
)

func init() {
	beam.RegisterDoFn(&sumFn{})
	register.Emitter2[string, string]()
	register.Iter1[string]()
}

// Summary is what reading a file gave: Read = Kept + all of Rejected.
type Summary struct {
	Source   string           `json:"source"`
	Read     int64            `json:"read"`
	Kept     int64            `json:"kept"`
	Rejected map[string]int64 `json:"rejected"`
	Groups   [][2]int64       `json:"groups"`            // first and last record of each row group
	Rejects  string           `json:"rejects,omitempty"` // the file of dead letters
	// Of a file that was read by blocks: the number of each block that has records, with that of its row groups; and the files of its dead
	// letters.
	Blocks [][2]int64 `json:"blocks,omitempty"`
	Parts  []string   `json:"reject_parts,omitempty"`

	Format string           `json:"format"`           // as named or detected
	Labels map[string]int64 `json:"labels,omitempty"` // records by class, of rows that have one
	Rows   string           `json:"rows"`             // the kind of its rows
	Unused map[string]int64 `json:"unused,omitempty"` // see datasets.Tally
	Notes  map[string]int64 `json:"notes,omitempty"`
	First  string           `json:"first,omitempty"` // the first dead letter, in words

	bytesIn, bytesOut int64 // of the texts
}

// Totals are what reading all files gave: Read = Kept + all of Rejected.
type Totals struct {
	Files    int64            `json:"files"`
	Groups   int64            `json:"groups"` // of records, which go on
	Read     int64            `json:"read"`
	Kept     int64            `json:"kept"`
	Rejected map[string]int64 `json:"rejected,omitempty"`
	Rejects  []string         `json:"rejects,omitempty"` // files of dead letters, sorted
	// Layouts count the files by format and kind of rows, as "csv, rows: text".
	Layouts map[string]int64 `json:"layouts,omitempty"`
	Labels  map[string]int64 `json:"labels,omitempty"` // see Summary
	Unused  map[string]int64 `json:"unused,omitempty"`
	Notes   map[string]int64 `json:"notes,omitempty"`
	// First is the first dead letter, in words, of the first file that has one, whose position is FirstOf.
	First   string `json:"first,omitempty"`
	FirstOf int    `json:"first_of,omitempty"`
}

// TotalsKind names [Totals] for stage.Total.
const TotalsKind = "ingest"

// Add adds the totals of other files.
func (t *Totals) Add(o *Totals) {
	t.Files, t.Groups, t.Read, t.Kept = t.Files+o.Files, t.Groups+o.Groups, t.Read+o.Read, t.Kept+o.Kept
	t.Rejected, t.Labels = datasets.AddCounts(t.Rejected, o.Rejected), datasets.AddCounts(t.Labels, o.Labels)
	t.Unused, t.Notes = datasets.AddCounts(t.Unused, o.Unused), datasets.AddCounts(t.Notes, o.Notes)
	t.Layouts, t.Rejects = datasets.AddCounts(t.Layouts, o.Layouts), datasets.AddNames(t.Rejects, o.Rejects)
	if o.First != "" && (t.First == "" || o.FirstOf < t.FirstOf) {
		t.First, t.FirstOf = o.First, o.FirstOf
	}
}

// totals are those of one file.
func (s *Summary) totals(in File) *Totals {
	t := &Totals{Files: 1, Groups: int64(len(s.Groups)), Read: s.Read, Kept: s.Kept, Rejected: s.Rejected, Rejects: s.RejectFiles(),
		Labels: s.Labels, Unused: s.Unused, Notes: s.Notes, First: s.First}
	if s.First != "" {
		t.FirstOf = in.Ordinal
	}
	if s.Format != "" && s.Rows != "" {
		t.Layouts = map[string]int64{fmt.Sprintf("%s, rows: %s", s.Format, s.Rows): 1}
	}
	return t
}

// List are the references to the row groups of a file, in its order.
func (s *Summary) List(dir string, in File) []Group {
	var out []Group
	add := func(path string, n int) {
		for g := range n {
			at := len(out)
			out = append(out, Group{Source: in.Source, Path: path, Name: fmt.Sprintf("%s-%05d", Name(in.Source), at), Group: g,
				Order: int64(in.Ordinal)<<32 | int64(at), Rank: in.Rank, Part: in.Part, First: s.Groups[at][0], Last: s.Groups[at][1]})
		}
	}
	if len(s.Blocks) == 0 {
		add(StagedPath(dir, in.Source), len(s.Groups))
	}
	for _, b := range s.Blocks {
		add(blockPath(dir, in.Source, b[0]), int(b[1]))
	}
	return out
}

// RejectFiles are the files of the dead letters, in the order of the input file.
func (s *Summary) RejectFiles() []string {
	if s.Rejects != "" {
		return []string{s.Rejects}
	}
	return s.Parts
}

// add adds what the next block of the file gave.
func (s *Summary) add(b *Summary, number int64) {
	s.Read, s.Kept = s.Read+b.Read, s.Kept+b.Kept
	for _, sum := range [][2]map[string]int64{{s.Rejected, b.Rejected}, {s.Labels, b.Labels}} {
		for k, n := range sum[1] {
			sum[0][k] += n
		}
	}
	if len(b.Groups) > 0 {
		s.Groups, s.Blocks = append(s.Groups, b.Groups...), append(s.Blocks, [2]int64{number, int64(len(b.Groups))})
	}
	if b.Rejects != "" {
		s.Parts = append(s.Parts, b.Rejects)
	}
	s.Format, s.Rows, s.First = cmp.Or(s.Format, b.Format), cmp.Or(s.Rows, b.Rows), cmp.Or(s.First, b.First)
	tally := datasets.Tally{Unused: s.Unused, Notes: s.Notes}
	tally.Add(datasets.Tally{Unused: b.Unused, Notes: b.Notes})
	s.Unused, s.Notes = tally.Unused, tally.Notes
}

// Name is the stem of the files written for a source: readable, and unique by its hash.
func Name(source string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, source)
	return safe[max(0, len(safe)-48):] + "-" + storage.SHA256([]byte(source))[:16]
}

// blockName is the stem of the files written for a block of a source.
func blockName(source string, number int64) string {
	return fmt.Sprintf("%s-b%06d", Name(source), number)
}

// blockPath is the staged file of a block of a source.
func blockPath(dir, source string, number int64) string {
	return storage.Join(dir, blockName(source, number)+".parquet")
}

// StagedPath is the staged file of a source that was read whole, in the folder dir.
func StagedPath(dir, source string) string { return storage.Join(dir, Name(source)+".parquet") }

// blockSummary is what reading a block gave, as it goes to the sum of its file.
type blockSummary struct {
	Block Block
	Sum   *Summary
}

// sumFn adds up what reading the blocks of a file gave, and emits references to the file's row groups and its [Totals].
type sumFn struct{ StagedDir string }

// ProcessElement adds up the blocks of one file.
func (f *sumFn) ProcessElement(_ string, in func(*string) bool, emit func(Group), total func(string)) error {
	var all []blockSummary
	for text := ""; in(&text); {
		var b blockSummary
		if err := json.Unmarshal([]byte(text), &b); err != nil {
			return err
		}
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b blockSummary) int { return cmp.Compare(a.Block.Number, b.Block.Number) })
	all = slices.CompactFunc(all, func(a, b blockSummary) bool { return a.Block.Number == b.Block.Number }) // of a file that is there twice
	file, sum := all[0].Block.file(), all[0].Sum
	if !all[0].Block.whole() {
		sum = &Summary{Source: file.Source, Rejected: map[string]int64{}, Labels: map[string]int64{}}
		for _, b := range all {
			sum.add(b.Sum, b.Block.Number)
		}
	}
	for _, g := range sum.List(f.StagedDir, file) {
		emit(g)
	}
	text, err := json.Marshal(sum.totals(file))
	total(string(text))
	return err
}
