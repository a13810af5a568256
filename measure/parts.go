package measure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// A measure that adds up over shards can be taken apart, so that machines share the work. Its sums are taken over the sequences of a shard
// in their order, and added in the order of the shards: the same bits, whoever has taken which.

// Part is what is measured at a time of a measure that can be taken apart. It travels as JSON.
type Part struct {
	Measure string `json:"measure"`
	Number  int    `json:"number"` // among all parts, from 0
	Set     string `json:"set"`    // SetDomain or SetGeneral
	Shard   int    `json:"shard"`  // of the set, by number; -1 for all of them, one after another
	Limit   int    `json:"limit"`  // sequences of it that are measured at most; 0 for all
	Apart   bool   `json:"apart"`  // the named sources of the set are measured apart
}

// The sets of parts.
const (
	SetDomain  = "domain"
	SetGeneral = "general"
)

// Piece is what was found of a part.
type Piece struct {
	Part  Part            `json:"part"`
	Found json.RawMessage `json:"found"`
	// Tokens are those of the sequences that were read for it.
	Tokens int64 `json:"tokens"`
}

// Parts are the parts of the measures that the input asks for and that can be taken apart, in order.
func Parts(in *Input) (out []Part, err error) {
	for _, m := range Measures {
		if in.Row = m; m.Parts == nil || !m.When(in) {
			continue
		}
		parts, err := m.Parts(in)
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			p.Measure, p.Number = m.Name, len(out)
			out = append(out, p)
		}
	}
	return out, nil
}

// RunPart measures a part.
func RunPart(ctx context.Context, in *Input, p Part) (Piece, error) {
	for _, m := range Measures {
		if m.Name == p.Measure && m.Part != nil {
			in.Row = m
			return in.runPart(ctx, p)
		}
	}
	return Piece{}, fmt.Errorf("measure: no measure %q is taken apart: every worker must be of the same program", p.Measure)
}

// runPart measures a part of the measure that runs.
func (in *Input) runPart(ctx context.Context, p Part) (Piece, error) {
	in.tokens = 0
	found, err := in.Row.Part(ctx, in, p)
	if err != nil {
		return Piece{}, err
	}
	raw, err := storage.MarshalJSON(found, "")
	return Piece{p, raw, in.tokens}, err
}

// Pieces are what was found of the parts of the measure that runs ([Input.Row]), in their order: what [Run] was given, or, where it was
// given none, what is measured now.
func (in *Input) Pieces(ctx context.Context) (out []Piece, err error) {
	if in.given != nil {
		for _, p := range in.given {
			if p.Part.Measure == in.Row.Name {
				out = append(out, p)
			}
		}
		slices.SortFunc(out, func(a, b Piece) int { return a.Part.Number - b.Part.Number })
		return out, nil
	}
	parts, err := in.Row.Parts(in)
	if err != nil {
		return nil, err
	}
	for i, p := range parts {
		p.Measure, p.Number = in.Row.Name, i
		x, err := in.runPart(ctx, p)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// found reads what was found of a part.
func found[T any](p Piece) (v T, err error) {
	if err = json.Unmarshal(p.Found, &v); err != nil {
		err = fmt.Errorf("measure: part %d of %s: %w", p.Part.Number, p.Part.Measure, err)
	}
	return v, err
}

// set is the set of a part.
func (in *Input) set(name string) *Set {
	if name == SetGeneral {
		return &in.General
	}
	return &in.Domain
}

// shards are those of a part.
func (in *Input) shards(p Part) ([]string, error) {
	all := in.set(p.Set).Shards
	switch {
	case p.Shard < 0:
		return all, nil
	case p.Shard < len(all):
		return all[p.Shard : p.Shard+1], nil
	}
	return nil, errors.New("measure: a part is of a shard that the input lacks")
}

// byShard are the parts of a set, a shard each, of which no more than max_sequences sequences are measured in all.
func (in *Input) byShard(set string) (out []Part, err error) {
	left := in.Config.MaxSequences
	for i, path := range in.set(set).Shards {
		p := Part{Set: set, Shard: i}
		if in.Config.MaxSequences > 0 {
			if left <= 0 {
				break
			}
			n, err := in.rows(path)
			if err != nil {
				return nil, err
			}
			p.Limit = min(n, left)
			left -= n
		}
		out = append(out, p)
	}
	return out, nil
}

// rows is the number of sequences of a shard.
func (in *Input) rows(path string) (int, error) {
	data, err := in.open([]string{path})
	if err != nil {
		return 0, err
	}
	defer data.Close()
	return data.Len(), nil
}
