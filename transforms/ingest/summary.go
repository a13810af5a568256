package ingest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/bundle"
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

// SummaryPath is the summary of a source in the folder dir.
func SummaryPath(dir, source string) string { return storage.Join(dir, Name(source)+".json") }

// ReadSummary reads the summary of a source.
func ReadSummary(dir, source string) (*Summary, error) {
	b, err := storage.ReadFile(SummaryPath(dir, source))
	if err != nil {
		return nil, err
	}
	var s Summary
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", SummaryPath(dir, source), err)
	}
	if s.Source != source { // of one hash, one would be read as the other
		return nil, fmt.Errorf("%s is of %s and not of %s, whose names differ in nothing that files are named by: rename one of the two",
			SummaryPath(dir, source), s.Source, source)
	}
	return &s, nil
}

// blockSummary is what reading a block gave, as it goes to the sum of its file.
type blockSummary struct {
	Block Block
	Sum   *Summary
}

// sumFn adds up what reading the blocks of a file gave, writes the file's summary, and emits references to its row groups.
type sumFn struct {
	StagedDir string

	work bundle.Workers[[]Group]
}

// StartBundle begins with no file.
func (f *sumFn) StartBundle(context.Context, func(Group)) { f.work.Start() }

// ProcessElement adds up the blocks of one file.
func (f *sumFn) ProcessElement(ctx context.Context, _ string, in func(*string) bool, _ func(Group)) error {
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
	return f.work.Go(ctx, func() ([]Group, error) {
		in, sum := all[0].Block.file(), all[0].Sum
		if !all[0].Block.whole() {
			sum = &Summary{Source: in.Source, Rejected: map[string]int64{}, Labels: map[string]int64{}}
			for _, b := range all {
				sum.add(b.Sum, b.Block.Number)
			}
		}
		raw, err := json.Marshal(sum)
		if err != nil {
			return nil, err
		}
		return sum.List(f.StagedDir, in), storage.WriteFile(SummaryPath(f.StagedDir, in.Source), raw)
	})
}

// FinishBundle emits the row groups.
func (f *sumFn) FinishBundle(_ context.Context, emit func(Group)) error {
	files, err := f.work.Wait()
	for _, groups := range files {
		for _, g := range groups {
			emit(g)
		}
	}
	return err
}
