package pack

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// manifestFn lists the shards of a plan in a manifest, which is written last.
type manifestFn struct{ Set Settings }

// ProcessElement takes the paths of the shards' descriptions.
func (f *manifestFn) ProcessElement(ctx context.Context, plan string, infos func(*string) bool, emit func(ShardSet)) error {
	l, err := layoutOf(plan)
	if err != nil {
		return err
	}
	t, err := f.Set.open(ctx)
	if err != nil {
		return err
	}
	meta, bos, eos := t.meta, t.frame.BOS(), t.frame.EOS()
	m := &datasets.Manifest{Labels: f.Set.Labels, SchemaVersion: datasets.SchemaVersion, Version: meta.Version, Kind: meta.Kind,
		TokenizerHash: meta.TokenizerHash, SequenceLength: meta.SequenceLength, Packing: meta.Packing, Isolate: meta.IsolateDocuments,
		Seed: meta.Seed, AddBOS: &bos, AddEOS: &eos, DocumentSeparator: f.Set.Separator, Read: l.Docs, Kept: l.Docs,
		Rejected: map[string]int64{},
		Funnel:   []datasets.FunnelStage{{Name: "read", In: l.Docs, Kept: l.Docs, Rejected: map[string]int64{}}},
		Train:    []datasets.ShardInfo{}, Validation: []datasets.ShardInfo{}}
	var docs int64
	var paths []string
	for path := ""; infos(&path); {
		paths = append(paths, path)
	}
	slices.SortFunc(paths, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }) // by number
	for _, path := range paths {
		raw, err := storage.ReadFile(path)
		if err != nil {
			return err
		}
		var info Info
		if err := json.Unmarshal(raw, &info); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		docs += info.Stats.Docs
		m.DroppedTokens += info.Stats.Dropped
		if info.Shard.Rows == 0 { // all of it was dropped
			if err := storage.Remove(storage.Join(f.Set.Dir, info.Shard.Path)); err != nil {
				return err
			}
			continue
		}
		m.Sequences += info.Shard.Rows
		m.Tokens += info.Shard.Tokens
		if strings.HasPrefix(info.Shard.Path, trainPrefix) {
			m.Train = append(m.Train, info.Shard)
		} else {
			m.Validation = append(m.Validation, info.Shard)
		}
	}
	if docs != l.Docs {
		return fmt.Errorf("%d documents were staged in %s and %d were packed: the files there changed while this ran, run it again alone",
			l.Docs, f.Set.Work, docs)
	}
	if m.Sequences == 0 {
		return fmt.Errorf("no sequence of %d tokens is full, and drop_last drops the rest; lower SequenceLength or give more text",
			meta.SequenceLength)
	}
	m.FillRate = float64(m.Tokens) / float64(m.Sequences*int64(meta.SequenceLength))
	path, err := datasets.WriteManifest(f.Set.Dir, m)
	if err != nil {
		return err
	}
	raw, err := storage.ReadFile(path)
	if err != nil {
		return err
	}
	emit(ShardSet{Name: f.Set.Name, Dir: f.Set.Dir, Manifest: path, Hash: storage.SHA256(raw)[:hashDigits], Sequences: m.Sequences,
		Tokens: m.Tokens})
	return nil
}
