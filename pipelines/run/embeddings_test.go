package run

import (
	"path/filepath"
	"testing"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/pipelines/drive/drivetest"
	"github.com/adaptflow/adaptflow/train"
)

// TestEmbeddingsTraining trains on from adapters that grow the base, also over a quantised one, and a new adapter over a grown base: the
// folders open.
func TestEmbeddingsTraining(t *testing.T) {
	const embeddings = "../../infer/testdata/embeddings"
	for _, c := range []struct{ base, name, dtype string }{{"llama", "llama_grown", ""}, {"tied", "tied_grown", ""},
		{"gpt2", "gpt2_grown_modules_to_save", ""},
		{"llama", "llama_grown", "float32+nf4"}, {"llama", "llama_grown", "bfloat16"}} {
		job := drivetest.Job(t)
		job.Model, job.DType, job.Args.MaxSteps = filepath.Join(embeddings, "bases", c.base), c.dtype, 2
		job.InitAdapter = filepath.Join(embeddings, c.name, "adapter")
		var err error
		if job.Task, err = train.WithEmbeddings(job.Model, model.Task{}, job.InitAdapter); err != nil || job.Task.Embeddings == "" {
			t.Fatalf("%s: %+v, %v", c.name, job.Task, err)
		}
		if st := driven(t, job); len(st.History) != 2 {
			t.Errorf("%s as %q: %d steps", c.name, c.dtype, len(st.History))
		}
		base, err := train.Hold(job.Model, job.DType, job.Task)
		if err != nil {
			t.Fatal(err)
		}
		defer base.Release()
		m := base.Model
		if m.Config.Vocab != 53 {
			t.Errorf("%s: a vocabulary of %d", c.name, m.Config.Vocab)
		}
		fresh, err := train.OpenAdapter(m, "", "lora", map[string]any{"r": 2, "target_modules": "all-linear"}, job.Model, 1)
		if err != nil {
			t.Fatal(err)
		}
		params, err := fresh.NewParams(1)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "fresh")
		if err := fresh.Save(to, params, 0, peft.Card{}); err != nil {
			t.Fatal(err)
		}
		l, err := infer.Load(job.Model, "", to)
		if err != nil {
			t.Fatalf("%s: a new adapter's folder: %v", c.name, err)
		}
		if l.Base.Config.Vocab != 53 {
			t.Errorf("%s: over a new adapter's folder the vocabulary is %d", c.name, l.Base.Config.Vocab)
		}
		l.Close()
		params.Free()
	}
}
