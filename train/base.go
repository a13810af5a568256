package train

import (
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

var models struct {
	sync.Mutex
	loaded map[loadedKey]loadedModel
}

// loadedModel is a model as its files were at a time.
type loadedModel struct {
	*model.Model
	stamp string
}

type loadedKey struct {
	dir, dtype string
	task       model.Task
}

// modelFiles are the extensions of the files that a model is made of.
var modelFiles = []string{".json", ".safetensors"}

// Base is BaseFor the task that config.json says.
func Base(dir, dtype string) (*model.Model, error) { return BaseFor(dir, dtype, model.Task{}) }

// BaseFor returns the base model of dir, opened for a task, with its weights stored as dtype ("float32" where empty), loaded once a process
// and shared by all who ask, as long as the files of dir are the same.
func BaseFor(dir, dtype string, task model.Task) (*model.Model, error) {
	models.Lock()
	defer models.Unlock()
	if dtype == "" {
		dtype = "float32"
	}
	key := loadedKey{dir, dtype, task}
	stamp := storage.Stamp(dir, modelFiles...)
	if task.Embeddings != "" {
		stamp += storage.Stamp(task.Embeddings, modelFiles...)
	}
	if m := models.loaded[key]; m.Model != nil && m.stamp == stamp {
		return m.Model, nil
	}
	m, err := model.LoadTask(dir, dtype, task)
	if err != nil {
		return nil, err
	}
	if models.loaded == nil {
		models.loaded = map[loadedKey]loadedModel{}
	}
	models.loaded[key] = loadedModel{m, stamp}
	return m, nil
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
func baseHash(dir, dtype string, task model.Task) (string, error) {
	m, err := BaseFor(dir, dtype, task)
	if err != nil {
		return "", err
	}
	return m.Hash()
}
