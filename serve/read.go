package serve

import (
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/train"
)

// mostForms is the number of configurations of adapters that one program knows, at most.
const mostForms = 16

// read opens an adapter: it is checked against the base. It runs beside the engine's goroutine.
func (e *Live) read(r *resident) (err error) {
	defer mem.Catch(&err, "set a lower --adapter-memory")
	_, classes, err := peft.TaskOf(r.folder)
	if err != nil {
		return err
	}
	if classes > 0 {
		return refuse("the adapter %q classifies texts: it has no words to answer with", r.name)
	}
	task, err := train.WithEmbeddings(e.o.Model, model.Task{}, r.folder)
	if err != nil {
		return err
	}
	if task != (model.Task{}) { // over a base that has its embeddings
		if limit := e.o.MemoryLimit; limit > 0 && e.plan.Total()+e.plan.Base > limit {
			return refuse("the adapter %q needs a base of its own, for its embeddings, and the memory limit has no room for one", r.name)
		}
		b, err := infer.Hold(e.o.Model, e.o.DType, r.folder)
		if err != nil {
			return err
		}
		defer b.Close()
		r.model, err = b.With(r.folder)
		return err
	}
	r.adapter, err = train.OpenAdapter(e.self.Base, r.folder, "", nil, e.o.Model, 0)
	return err
}

// configOf is what is written in an adapter's configuration.
func configOf(folder string) string {
	raw, _ := storage.ReadSmall(filepath.Join(folder, peft.ConfigFile), storage.KindConfig)
	return string(raw)
}

// knows says whether an adapter has the form of one of others.
func knows(others []*peft.Adapter, a *peft.Adapter) bool {
	return slices.ContainsFunc(others, func(o *peft.Adapter) bool { return peft.SameForm(o, a) })
}
