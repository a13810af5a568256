package train

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// ResolveDType turns "auto" into the dtype that this process trains in fastest: bfloat16 where the kernel set multiplies it, else float32.
func ResolveDType(dtype string) string {
	values, place, placed := strings.Cut(dtype, "@")
	dense, rest, quantised := strings.Cut(values, "+")
	switch {
	case dense == "auto" && kernels.WantsHalf():
		dense = "bfloat16"
	case dense == "auto" || dense == "":
		dense = "float32"
	}
	if quantised {
		dense += "+" + rest
	}
	if placed {
		dense += "@" + place
	}
	return dense
}

// Values is how a program of a dtype keeps its values.
func Values(dtype string) nn.DType {
	dtype, _, _ = strings.Cut(dtype, "@")
	if dtype == "bfloat16" || strings.HasPrefix(dtype, "bfloat16+") {
		return nn.BFloat16
	}
	return nn.Float32
}

// bases are the base models that somebody of this process holds.
var bases struct {
	sync.Mutex
	loaded map[baseKey]*loadedBase
}

// baseKey names a base as its files are at a time, by their stamp.
type baseKey struct {
	dir, dtype, stamp string
	task              model.Task
}

// modelFiles are the extensions of the files that a model is made of.
var modelFiles = []string{".json", ".safetensors", ".gguf"}

type loadedBase struct {
	model *model.Model
	users int
}

// Held is a base model in memory, which all who hold it at a time share.
type Held struct {
	Model    *model.Model
	key      baseKey
	released bool
}

// Hold returns the base model of dir, opened for a task, with its weights stored as dtype ("float32" where empty). It is loaded when nobody
// of this process holds it as its files are now, and its memory is freed when the last who does releases it.
func Hold(dir, dtype string, task model.Task) (*Held, error) {
	key := keyOf(dir, dtype, task)
	bases.Lock()
	defer bases.Unlock()
	b := bases.loaded[key]
	if b == nil {
		m, err := model.LoadTask(key.dir, key.dtype, key.task)
		if err != nil {
			return nil, err
		}
		if bases.loaded == nil {
			bases.loaded = map[baseKey]*loadedBase{}
		}
		b = &loadedBase{model: m}
		bases.loaded[key] = b
	}
	b.users++
	return &Held{Model: b.model, key: key}, nil
}

func keyOf(dir, dtype string, task model.Task) baseKey {
	if dtype == "" {
		dtype = "float32"
	}
	stamp := storage.Stamp(dir, modelFiles...)
	if task.Embeddings != "" {
		stamp += storage.Stamp(task.Embeddings, modelFiles...)
	}
	return baseKey{dir, dtype, stamp, task}
}

// Release gives the model up: whoever called [Hold] must not use it any more. Releasing it again, or nil, does nothing.
func (h *Held) Release() error {
	if h == nil {
		return nil
	}
	bases.Lock()
	defer bases.Unlock()
	if h.released {
		return nil
	}
	h.released = true
	b := bases.loaded[h.key]
	if b.users--; b.users > 0 {
		return nil
	}
	delete(bases.loaded, h.key)
	kernels.FreeIdle()
	return b.model.Close()
}

// Base loads the base model of dir, for the task that config.json says, with its weights stored as dtype ("float32" where empty). The
// caller closes it; [Hold] shares one.
func Base(dir, dtype string) (*model.Model, error) {
	key := keyOf(dir, dtype, model.Task{})
	return model.LoadTask(key.dir, key.dtype, key.task)
}

// WithEmbeddings is the task with the embedding and the head of the first adapter folder that brings other ones than the base model of dir
// has, as HF PEFT saves them of a model whose vocabulary was resized. Empty names of adapters are skipped.
func WithEmbeddings(dir string, task model.Task, adapters ...string) (model.Task, error) {
	for _, a := range adapters {
		if a == "" || !peft.BringsEmbeddings(a) {
			continue
		}
		names, err := peft.SavedModules(a)
		if err != nil {
			return task, err
		}
		with := task
		with.Embeddings, with.Trained = a, strings.Join(names, ",")
		if other, err := model.EmbeddingsDiffer(dir, with); err != nil || other {
			return with, err
		}
	}
	return task, nil
}

// OpenAdapter attaches an adapter to a base model: that of a folder, or a new one of a method. A new one may need data: see
// [InitializeAdapter].
func OpenAdapter(m *model.Model, dir, method string, config map[string]any, base string, seed uint64) (*peft.Adapter, error) {
	env := peft.Env{ModelType: m.Config.ModelType, BaseModel: base, Seed: seed, Tied: m.Config.Tied, Embeddings: m.Embeddings()}
	if dir != "" {
		return peft.Open(dir, nn.Sites(m), env)
	}
	return peft.New(method, config, nn.Sites(m), env)
}

// baseHash is the hash of a base model.
func baseHash(dir, dtype string, task model.Task) (_ string, err error) {
	h, err := Hold(dir, dtype, task)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, h.Release()) }()
	return h.Model.Hash()
}

// hold holds the base model of a job and the models that it learns from; on an error none.
func (j *Job) hold() (base *Held, teachers []*Held, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, base.Release(), release(teachers))
		}
	}()
	for _, dir := range j.Teachers {
		h, err := Hold(dir, j.DType, model.Task{})
		if err != nil {
			return nil, teachers, fmt.Errorf("the teacher: %w", err)
		}
		teachers = append(teachers, h)
	}
	base, err = Hold(j.Model, j.DType, j.Task)
	return base, teachers, err
}

func release(held []*Held) (err error) {
	for _, h := range held {
		err = errors.Join(err, h.Release())
	}
	return err
}
