package pipelines

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/pipelines/drive"
	core "github.com/adaptflow/adaptflow/train"
)

// Fact is one line of what inspect shows.
type Fact struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

// Inspect describes an input file, a Parquet shard, a folder of shards, a folder of dead letters, a safetensors file, an adapter folder, a model folder, a
// checkpoint or the folder of a run.
func Inspect(path string) ([]Fact, error) {
	if !storage.IsLocal(path) {
		return inspectObjects(path)
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	has := func(f string) bool { _, err := os.Stat(filepath.Join(path, f)); return err == nil }
	switch {
	case !st.IsDir() && strings.HasSuffix(path, ".parquet"):
		return inspectShard(path)
	case !st.IsDir() && strings.HasSuffix(path, ".safetensors"):
		return inspectTensors([]string{path})
	case !st.IsDir():
		return inspectInput(path)
	case has(MetricsFile) && has(peft.ConfigFile):
		return inspectKey(path)
	case has(KeysFile):
		return inspectKeys(path)
	case has(MetricsFile):
		m, err := ReadMetrics(path)
		if err != nil {
			return nil, err
		}
		facts := []Fact{{"finished run", path}, {"steps", m.Train.Steps}, {"tokens", m.Train.Tokens}, {"records read", m.Data.Read}, {"records kept", m.Data.Kept}}
		for _, f := range m.Data.Formats {
			facts = append(facts, Fact{"detected", f})
		}
		facts = append(facts, tallyFacts(m.Data.Unused, m.Data.Notes)...)
		facts = append(facts, funnelFacts(m.Data.Funnel)...)
		if s := m.Eval.Domain; s != nil {
			facts = append(facts, Fact{"domain perplexity", beforeAfter(s.Before.Perplexity, s.After.Perplexity)})
		}
		return facts, nil
	case has(HistoryFile):
		return inspectHistory(path)
	case has(datasets.ManifestName):
		return inspectShards(path)
	case filepath.Base(filepath.Clean(path)) == RejectsDir:
		return rejectSamples(path, 3)
	case has(peft.ConfigFile):
		files, err := peft.TensorPaths(path)
		if err != nil {
			return nil, err
		}
		facts, err := inspectTensors(files)
		return append([]Fact{{"adapter", path}}, facts...), err
	case has("trainer_state.json"):
		s, err := core.ReadState(path)
		if err != nil {
			return nil, err
		}
		return []Fact{{"checkpoint", path}, {"step", fmt.Sprintf("%d of %d", s.Step, s.Total)}, {"tokens", s.TokensSeen}, {"best step", s.BestStep}}, nil
	case has("config.json"):
		raw, err := storage.ReadSmall(filepath.Join(path, "config.json"), storage.KindConfig)
		if err != nil {
			return nil, err
		}
		var c map[string]any
		if err := json.Unmarshal(raw, &c); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(path, "config.json"), err)
		}
		src, err := safetensors.OpenDir(path)
		if err != nil {
			return nil, err
		}
		defer src.Close()
		n := 0
		for _, t := range src.Names() {
			i, _ := src.Info(t)
			n += i.Len()
		}
		return []Fact{{"model", path}, {"architectures", c["architectures"]}, {"vocab_size", c["vocab_size"]}, {"tensors", len(src.Names())}, {"parameters", n}}, nil
	case has(RecipeFile):
		step, err := drive.Latest(filepath.Join(path, "checkpoints"))
		return []Fact{{"unfinished run", path}, {"last checkpoint", step}}, err
	}
	return nil, fmt.Errorf("%s is no model, adapter, checkpoint or run folder", path)
}

// inspectObjects describes a shard, a folder of shards or a folder of dead letters on an object store.
func inspectObjects(path string) ([]Fact, error) {
	switch base := path[strings.LastIndexByte(strings.TrimRight(path, "/"), '/')+1:]; {
	case strings.HasSuffix(base, ".parquet"):
		return inspectShard(path)
	case strings.TrimRight(base, "/") == RejectsDir:
		return rejectSamples(path, 3)
	}
	if ok, err := storage.Exists(storage.Join(path, datasets.ManifestName)); err != nil {
		return nil, err
	} else if !ok {
		return nil, fmt.Errorf("%s: is no shard and no folder of shards or rejects; copy other things here to inspect them", path)
	}
	return inspectShards(path)
}

func inspectShard(path string) ([]Fact, error) {
	s, err := datasets.OpenShard(path)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	m := s.Meta()
	docs, tokens, supervised := 0, 0, 0
	seq := 0
	var pieces []Fact
	for g := range s.NumRowGroups() {
		rows, err := s.ReadRowGroup(g)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			pieces = append(pieces, lineage(&rows[i], seq, shownPieces-len(pieces))...)
			seq++
			docs, tokens, supervised = docs+len(rows[i].DocIDs), tokens+len(rows[i].InputIDs), supervised+rows[i].Supervised()
		}
	}
	return append([]Fact{{"shard", path}, {"kind", m.Kind}, {"sequences", s.NumRows()}, {"row groups", s.NumRowGroups()}, {"documents and pieces", docs}, {"tokens", tokens},
		{"supervised", supervised}, {"sequence_length", m.SequenceLength}, {"packing", m.Packing}, {"tokenizer", m.TokenizerHash}, {"written by", m.Version}}, pieces...), nil
}

// shownPieces is of how many pieces a shard's description tells the lineage.
const shownPieces = 20

// lineage says of the first n pieces of a sequence which document they are of, and which part of it.
func lineage(q *datasets.Sequence, seq, n int) (out []Fact) {
	for k := range q.DocIDs[:max(0, min(n, len(q.DocIDs)))] {
		where := ""
		if len(q.DocStarts) == len(q.DocIDs) { // documents are isolated
			end := len(q.InputIDs)
			if k+1 < len(q.DocStarts) {
				end = int(q.DocStarts[k+1])
			}
			where = fmt.Sprintf(", tokens %d to %d", q.DocStarts[k], end)
		}
		out = append(out, Fact{fmt.Sprintf("sequence %d%s", seq, where), fmt.Sprintf("%s, characters %d to %d, of %s", q.DocIDs[k], q.DocSpans[k][0], q.DocSpans[k][1], q.Sources[k])})
	}
	return out
}

func inspectTensors(files []string) ([]Fact, error) {
	f, err := safetensors.OpenFiles(files, nil)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var facts []Fact
	n := 0
	for _, name := range f.Names() {
		i, _ := f.Info(name)
		n += i.Len()
		facts = append(facts, Fact{name, fmt.Sprintf("%s %v", i.DType, i.Shape)})
	}
	return append([]Fact{{"tensors", len(facts)}, {"parameters", n}}, facts...), nil
}
