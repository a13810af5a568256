// Package inspect shows what a file or a folder holds: input, shards, dead letters, tensors, adapters, models, checkpoints, runs.
package inspect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/gguf"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/pipelines/drive"
	"github.com/adaptflow/adaptflow/pipelines/kinds"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/train"
)

// Path describes an input file, a Parquet shard, a folder of shards, a folder of dead letters, a safetensors or GGUF file, an adapter
// folder, a model folder or an embedded model (embedded:NAME), a checkpoint or the folder of a run.
func Path(path string) ([]report.Fact, error) {
	if strings.HasPrefix(path, "embedded:") {
		dir, err := assets.Model(path, nil)
		if err != nil {
			return nil, err
		}
		facts, err := inspectModel(dir)
		if err == nil {
			facts[0].Value, facts[len(facts)-1].Value = path, "see adaptflow licenses"
		}
		return facts, err
	}
	if !storage.IsLocal(path) {
		return inspectObjects(path)
	}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist", path)
	}
	if err != nil {
		return nil, err
	}
	has := func(f string) bool { _, err := os.Stat(filepath.Join(path, f)); return err == nil }
	var kind *kinds.Kind
	for _, k := range kinds.Kinds() {
		if k.Shown.By != "" && has(k.Shown.By) {
			kind = &k
			break
		}
	}
	switch {
	case !st.IsDir() && strings.HasSuffix(path, ".parquet"):
		return inspectShard(path)
	case !st.IsDir() && strings.HasSuffix(path, ".safetensors"):
		return inspectTensors([]string{path})
	case !st.IsDir() && gguf.Is(path):
		return inspectGGUF(path)
	case !st.IsDir():
		return inspectInput(path)
	case has(run.MetricsFile) && has(peft.ConfigFile):
		return inspectKey(path)
	case kind != nil:
		return kind.Shown.Facts(path)
	case has(datasets.ManifestName):
		return inspectShards(path)
	case filepath.Base(filepath.Clean(path)) == run.RejectsDir:
		return rejectSamples(path, 3)
	case has(peft.ConfigFile):
		files, err := peft.TensorPaths(path)
		if err != nil {
			return nil, err
		}
		facts, err := inspectTensors(files)
		return append(report.Facts("adapter", path), facts...), err
	case has("trainer_state.json"):
		s, err := train.ReadState(path)
		if err != nil {
			return nil, err
		}
		return report.Facts("checkpoint", path, "step", fmt.Sprintf("%d of %d", s.Step, s.Total), "tokens", s.TokensSeen,
			"best step", s.BestStep), nil
	case has("config.json"):
		return inspectModel(path)
	case has(run.RecipeFile):
		step, err := drive.Latest(train.Job{Dir: filepath.Join(path, "checkpoints")})
		return report.Facts("unfinished run", path, "last checkpoint", step), err
	}
	return nil, fmt.Errorf("%s is not a model, adapter, checkpoint or run folder", path)
}

// inspectObjects describes a shard, a folder of shards or a folder of dead letters on an object store.
func inspectObjects(path string) ([]report.Fact, error) {
	switch base := path[strings.LastIndexByte(strings.TrimRight(path, "/"), '/')+1:]; {
	case strings.HasSuffix(base, ".parquet"):
		return inspectShard(path)
	case strings.TrimRight(base, "/") == run.RejectsDir:
		return rejectSamples(path, 3)
	}
	if ok, err := storage.Exists(storage.Join(path, datasets.ManifestName)); err != nil {
		return nil, err
	} else if !ok {
		return nil, fmt.Errorf("%s is neither a shard nor a folder of shards or rejects; copy other things here to inspect them", path)
	}
	return inspectShards(path)
}

func inspectShard(path string) ([]report.Fact, error) {
	s, err := datasets.OpenShard(path)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	m := s.Meta()
	docs, tokens, supervised := 0, 0, 0
	seq := 0
	var pieces []report.Fact
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
	return append(report.Facts("shard", path, "kind", m.Kind, "sequences", s.NumRows(), "row groups", s.NumRowGroups(),
		"documents and pieces", docs, "tokens", tokens,
		"supervised", supervised, "sequence_length", m.SequenceLength, "packing", m.Packing, "tokenizer", m.TokenizerHash, "written by",
		m.Version), pieces...), nil
}

// shownPieces is of how many pieces a shard's description tells the lineage.
const shownPieces = 20

// lineage says of the first n pieces of a sequence which document they are of, and which part of it.
func lineage(q *datasets.Sequence, seq, n int) (out []report.Fact) {
	for k := range q.DocIDs[:max(0, min(n, len(q.DocIDs)))] {
		where := ""
		if len(q.DocStarts) == len(q.DocIDs) { // documents are isolated
			end := len(q.InputIDs)
			if k+1 < len(q.DocStarts) {
				end = int(q.DocStarts[k+1])
			}
			where = fmt.Sprintf(", tokens %d to %d", q.DocStarts[k], end)
		}
		out = append(out, report.NewFact(fmt.Sprintf("sequence %d%s", seq, where),
			fmt.Sprintf("%s, characters %d to %d, of %s", q.DocIDs[k], q.DocSpans[k][0], q.DocSpans[k][1], q.Sources[k])))
	}
	return out
}

func inspectTensors(files []string) ([]report.Fact, error) {
	f, err := safetensors.OpenFiles(files, nil)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var facts []report.Fact
	n := 0
	for _, name := range f.Names() {
		i, _ := f.Info(name)
		n += i.Len()
		facts = append(facts, report.NewFact(name, fmt.Sprintf("%s %v", i.DType, i.Shape)))
	}
	return append(report.Facts("tensors", len(facts), "parameters", n), facts...), nil
}
