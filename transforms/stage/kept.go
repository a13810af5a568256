package stage

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/end"
)

func init() {
	beam.RegisterDoFn(&keepFn{})
	beam.RegisterDoFn(&keptFn{})
}

// References go from one job to the next by files that workers write and read, since one that the driver listed would take it longer the
// more there are.

// Keep writes references (PCollection<string>, JSON each) to the file path, for [Kept] of another job. The file depends on the references
// alone, not on their order. Without any it is not written.
func Keep(s beam.Scope, path string, refs beam.PCollection) {
	s = s.Scope("stage.Keep")
	end.Of(s, beam.ParDo(s, &keepFn{Path: path, PerFile: inFile}, beam.GroupByKey(s, beam.ParDo(s, keyed, refs))))
}

// Kept are the references that [Keep] wrote to path (PCollection<string>), spread for work in parallel once decode, a function registered
// with Beam, has made references of them.
func Kept(s beam.Scope, path string, decode any) beam.PCollection {
	s = s.Scope("stage.Kept")
	files := beam.ParDo(s, &keptFn{}, beam.CreateList(s, []string{path}))
	return beam.Reshuffle(s, beam.ParDo(s, decode, beam.ParDo(s, &readListFn{}, beam.Reshuffle(s, files))))
}

// keptIndex names the files of references, in the folder of the index.
type keptIndex struct {
	Refs  int      `json:"refs"`
	Files []string `json:"files"`
}

// keepFn writes references: the index at Path, and beside it files of so many.
type keepFn struct {
	Path    string
	PerFile int
}

// ProcessElement writes the files, the index last, and emits its path.
func (f *keepFn) ProcessElement(_ int, refs func(*string) bool, emit func(string)) error {
	var all []json.RawMessage
	for r := ""; refs(&r); {
		all = append(all, json.RawMessage(r))
	}
	slices.SortFunc(all, func(a, b json.RawMessage) int { return slices.Compare(a, b) })
	index := keptIndex{Refs: len(all)}
	for from := 0; from < len(all); from += f.PerFile {
		raw, err := json.Marshal(all[from:min(from+f.PerFile, len(all))])
		if err != nil {
			return fmt.Errorf("references for %s: %w", f.Path, err)
		}
		file := fmt.Sprintf("%s-%05d.json", f.Path, len(index.Files))
		if err := storage.WriteFile(file, raw); err != nil {
			return err
		}
		index.Files = append(index.Files, file)
	}
	raw, err := json.Marshal(&index)
	if err != nil {
		return err
	}
	if err := storage.WriteFile(f.Path, raw); err != nil {
		return err
	}
	emit(f.Path)
	return nil
}

// keptFn reads an index.
type keptFn struct{}

// ProcessElement emits the files of references.
func (*keptFn) ProcessElement(path string, emit func(string)) error {
	raw, err := storage.ReadFile(path)
	if err != nil {
		return fmt.Errorf("the references of the stage before: %w", err)
	}
	var index keptIndex
	if err := json.Unmarshal(raw, &index); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, f := range index.Files {
		emit(f)
	}
	return nil
}

// ReadKept reads the references that [Keep] wrote to path.
func ReadKept(path string) ([]string, error) {
	var files, refs []string
	if err := (*keptFn)(nil).ProcessElement(path, func(f string) { files = append(files, f) }); err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := (*readListFn)(nil).ProcessElement(f, func(r string) { refs = append(refs, r) }); err != nil {
			return nil, err
		}
	}
	return refs, nil
}

// Together groups all texts (PCollection<string>) under one key, for work that needs them all in one place.
func Together(s beam.Scope, texts beam.PCollection) beam.PCollection {
	return beam.GroupByKey(s, beam.ParDo(s, keyed, texts))
}
