package prepare

import (
	"encoding/json"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/pack"
	"github.com/adaptflow/adaptflow/transforms/stage"
)

func init() {
	beam.RegisterFunction(fileOf)
	beam.RegisterFunction(groupOf)
	beam.RegisterFunction(stagedOf)
}

func fileOf(text string) (f ingest.File, err error) {
	err = json.Unmarshal([]byte(text), &f)
	return f, err
}

func groupOf(text string) (g ingest.Group, err error) {
	err = json.Unmarshal([]byte(text), &g)
	return g, err
}

func stagedOf(text string) (p pack.Staged, err error) {
	err = json.Unmarshal([]byte(text), &p)
	return p, err
}

// listFiles are the input files as a collection, listGroups the groups that the last stage left, listStaged the staged documents.
func (d *driver) listFiles(s beam.Scope) (beam.PCollection, error) {
	return stage.List(s, d.records, "list-files", d.files, fileOf, d.cfg.Dry)
}

func (d *driver) listGroups(s beam.Scope) (beam.PCollection, error) {
	return stage.List(s, d.records, "list-groups", d.groups, groupOf, d.cfg.Dry)
}

func (d *driver) listStaged(s beam.Scope) (beam.PCollection, error) {
	return stage.List(s, d.packed, "list-staged", d.staged, stagedOf, d.cfg.Dry)
}
