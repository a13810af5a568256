package train

import (
	"fmt"
	"sort"

	"github.com/adaptflow/adaptflow/datasets"
)

// Data is the training sequences in shard order.
type Data interface {
	Len() int
	Sequence(i int) (datasets.Sequence, error)
}

// Sequences is Data in memory.
type Sequences []datasets.Sequence

// Len implements Data.
func (s Sequences) Len() int { return len(s) }

// Sequence implements Data.
func (s Sequences) Sequence(i int) (datasets.Sequence, error) { return s[i], nil }

// sequences reads the sequences of the indices.
func sequences(data Data, indices []int) ([]datasets.Sequence, error) {
	out := make([]datasets.Sequence, len(indices))
	for j, i := range indices {
		var err error
		if out[j], err = data.Sequence(i); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Shards is Data in Parquet shards: row groups are read when they are needed and a bounded number of them is kept.
type Shards struct {
	shards []*datasets.Shard
	groups []group
	first  []int // index of each group's first sequence
	n      int
	vocab  int   // of the model that reads them; 0 where none does
	heard  []int // the sequences that training takes; nil for all
	cache  map[int][]datasets.Sequence
	recent []int
}

type group struct{ shard, row int }

// cachedGroups bounds the row groups in memory; a row group holds at most a few MiB.
const cachedGroups = 64

// OpenShards opens the shards at the paths, in that order.
func OpenShards(paths []string) (*Shards, error) {
	s := &Shards{cache: map[int][]datasets.Sequence{}}
	for _, p := range paths {
		f, err := datasets.OpenShard(p)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.shards = append(s.shards, f)
		for g := range f.NumRowGroups() {
			s.groups = append(s.groups, group{len(s.shards) - 1, g})
			s.first = append(s.first, s.n)
			s.n += int(f.RowGroupRows(g))
		}
	}
	if s.n == 0 {
		s.Close()
		return nil, fmt.Errorf("the shards hold no sequences: %v", paths)
	}
	return s, nil
}

// OpenTraining opens the shards that a job trains on. Sequences in which nothing has a loss, such as a piece of a long prompt, are passed
// over: they would make steps of which nothing is learnt.
func OpenTraining(args *Args, paths []string) (*Shards, error) {
	s, err := OpenShards(paths)
	if err != nil || args.Order == OrderWrapped {
		return s, err
	}
	heard := make([]int, 0, s.n)
	for g, at := range s.groups {
		silent, err := s.shards[at.shard].Silent(at.row)
		if err != nil {
			s.Close()
			return nil, err
		}
		for i := range silent {
			if !silent[i] {
				heard = append(heard, s.first[g]+i)
			}
		}
	}
	switch len(heard) {
	case 0:
		s.Close()
		return nil, fmt.Errorf("no token in the shards has a loss, so there is nothing to train on: %v", paths)
	case s.n:
	default:
		s.heard = heard
	}
	return s, nil
}

// Len implements Data.
func (s *Shards) Len() int {
	if s.heard != nil {
		return len(s.heard)
	}
	return s.n
}

// SequenceLength is the sequence length that the shards were packed for.
func (s *Shards) SequenceLength() int { return s.shards[0].Meta().SequenceLength }

// Sequence implements Data.
func (s *Shards) Sequence(i int) (datasets.Sequence, error) {
	if s.heard != nil {
		i = s.heard[i]
	}
	g := sort.SearchInts(s.first, i+1) - 1
	for g > 0 && s.first[g] > i {
		g--
	}
	rows, ok := s.cache[g]
	if !ok {
		var err error
		if rows, err = s.shards[s.groups[g].shard].ReadRowGroup(s.groups[g].row); err != nil {
			return datasets.Sequence{}, err
		}
		if err := s.known(g, rows); err != nil {
			return datasets.Sequence{}, err
		}
		if len(s.recent) == cachedGroups {
			delete(s.cache, s.recent[0])
			s.recent = s.recent[1:]
		}
		s.cache[g] = rows
		s.recent = append(s.recent, g)
	}
	if k := i - s.first[g]; k < len(rows) {
		return rows[k], nil
	}
	return datasets.Sequence{}, fmt.Errorf("%s: row group %d has %d rows, fewer than its metadata says", s.shards[s.groups[g].shard].Path(),
		s.groups[g].row, len(rows))
}

// of is an error where shards are of another kind than the objective takes.
func (s *Shards) of(o Objective) error {
	kind := o.Spec().Kind
	if _, ok := o.(Sampler); ok {
		kind = datasets.KindPrompt
	}
	if kind == "" {
		kind = datasets.KindLM
	}
	for _, f := range s.shards {
		if k := f.Meta().Kind; k != kind {
			return fmt.Errorf("%s holds rows of the kind %s, and the training takes %s: prepare the data again", f.Path(), k, kind)
		}
	}
	return nil
}

// Within makes a sequence with a token that a model of vocab tokens has no row for an error, and returns s: its shards are another model's.
func (s *Shards) Within(vocab int) *Shards {
	s.vocab = vocab
	return s
}

// known is an error for the first sequence of a row group that the model has no rows for.
func (s *Shards) known(g int, rows []datasets.Sequence) error {
	if s.vocab == 0 {
		return nil
	}
	f := s.shards[s.groups[g].shard]
	ids := f.Meta().Kind != datasets.KindClassification // labels of a classification are classes
	for i := range rows {
		for t, id := range rows[i].InputIDs {
			label := rows[i].Labels[t]
			if int(id) >= s.vocab || id < 0 {
				return fmt.Errorf("shard %s, row group %d, row %d: token %d is %d, but the model's vocabulary is %d: it was prepared for "+
					"another model; prepare the data again",
					f.Path(), s.groups[g].row, i, t, id, s.vocab)
			}
			kind := f.Meta().Kind
			marked := kind == datasets.KindUnpaired && label < datasets.NoLoss && label >= datasets.DesirableAnswer ||
				kind == datasets.KindPreference && label < datasets.DesirableAnswer
			if ids && label != datasets.NoLoss && (int(label) >= s.vocab || label < 0) && !marked {
				return fmt.Errorf("shard %s, row group %d, row %d: label %d is %d, but the model's vocabulary is %d: it was prepared for "+
					"another model; prepare the data again",
					f.Path(), s.groups[g].row, i, t, label, s.vocab)
			}
		}
	}
	return nil
}

// Close closes the files.
func (s *Shards) Close() error {
	for _, f := range s.shards {
		f.Close()
	}
	return nil
}
