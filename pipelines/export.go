package pipelines

import (
	"context"
	"fmt"

	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/train/continual"
)

// ExportTrained writes the adapter of the newest checkpoint, or of the best where the recipe asks for it; of continual learning a copy of the version in
// use. A run of several adapters is an error that says where they are.
func (r *Run) ExportTrained() error {
	switch {
	case ByKey(r.Recipe):
		return fmt.Errorf("a run by key writes an adapter for each key as it trains: see %s", r.product(AdapterDir+"s"))
	case Comparing(r.Recipe):
		return fmt.Errorf("a comparison of methods has no adapter of its own: run domain-adaptation with the settings of the best, which %s has", r.product(CompareFile))
	case Learns(r.Recipe):
		return r.exportVersion()
	}
	st, err := r.state()
	if err != nil {
		return err
	}
	if r.Recipe.Classifies() { // the data tells the classes; it has been prepared
		if _, err := r.Prepare(context.Background()); err != nil {
			return err
		}
	}
	a, params, err := r.Trained(st)
	if err != nil {
		return err
	}
	defer params.Free()
	if err := r.Export(a, params, st, &measure.Results{}, &measure.Results{}); err != nil {
		return err
	}
	return r.publish()
}

// exportVersion writes the version in use of continual learning in the formats that the recipe asks for.
func (r *Run) exportVersion() error {
	from, err := r.version()
	if err != nil {
		return err
	}
	if from == "" {
		return fmt.Errorf("%s has no version yet: run it first (adaptflow run, with the same settings and --output), or see in %s why all increments were rolled back", r.product(), HistoryFile)
	}
	if err := export.Write(&export.Source{Base: r.modelDir, Folder: from}, &r.Recipe.Export, r.Output); err != nil {
		return err
	}
	return r.publish()
}

// version is the folder of the version that continual learning has in use; "" where that is the base model.
func (r *Run) version() (string, error) {
	l := &learner{Run: r}
	var err error
	if l.history, err = continual.ReadHistory(l.path(HistoryFile)); err != nil {
		return "", err
	}
	c := l.history.Current()
	if c == nil {
		return "", nil
	}
	return l.path(c.Adapter), l.check()
}
