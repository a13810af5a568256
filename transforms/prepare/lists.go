package prepare

import (
	"encoding/json"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/pack"
	"github.com/adaptflow/adaptflow/transforms/stage"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
)

func init() {
	beam.RegisterFunction(fileOf)
	beam.RegisterFunction(groupOf)
	beam.RegisterFunction(groupText)
	beam.RegisterFunction(stagedOf)
	register.Emitter1[pack.Staged]()
}

func fileOf(text string) (f ingest.File, err error) {
	err = json.Unmarshal([]byte(text), &f)
	return f, err
}

func groupOf(text string) (g ingest.Group, err error) {
	err = json.Unmarshal([]byte(text), &g)
	return g, err
}

func groupText(g ingest.Group) (string, error) {
	text, err := json.Marshal(g)
	return string(text), err
}

// stagedOf makes a reference to the documents of a group, if there are any, of what tokenizing gave.
func stagedOf(text string, emit func(pack.Staged)) error {
	var t tokenize.Summary
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	if t.Docs > 0 {
		emit(pack.Staged{Source: t.Source, Path: t.Path, Name: t.Group.Name, Groups: t.Groups, Order: t.Group.Order, Part: t.Group.Part,
			Records: t.Group.Path, Group: t.Group.Group})
	}
	return nil
}

// listFiles are the input files as a collection.
func (d *driver) listFiles(s beam.Scope) (beam.PCollection, error) {
	return stage.List(s, d.records, "list-files", d.files, fileOf, d.cfg.Dry)
}

// list is the file of references that a stage leaves to the jobs after its own.
func (d *driver) list(name string) string {
	return storage.Join(d.cfg.StagedDir, "lists", name+".json")
}

// total is the file of what a stage adds up to.
func (d *driver) total(name string) string {
	return storage.Join(d.cfg.StagedDir, "totals", name+".json")
}

// keepGroups leaves the groups of a stage to the jobs after.
func (d *driver) keepGroups(s beam.Scope, name string, groups beam.PCollection) {
	stage.Keep(s, d.list(name), beam.ParDo(s, groupText, groups))
	d.kept = name
}

// listGroups are the groups that the last stage left, spread for work in parallel.
func (d *driver) listGroups(s beam.Scope) beam.PCollection {
	return stage.Kept(s, d.list(d.kept), groupOf)
}

// listStaged are the staged documents.
func (d *driver) listStaged(s beam.Scope) beam.PCollection {
	return stage.Kept(s, d.list(tokenize.Name), stagedOf)
}
