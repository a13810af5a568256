package infer

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/quant"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/train"
)

// Base is a base model in memory, over which any number of [Model] answer, each with adapters of its own.
type Base struct {
	// Dir is the model's folder, Tokenizer the one with the tokenizer: an adapter's that brought embeddings and has one.
	Dir, Tokenizer string
	Model          *model.Model

	mu     sync.Mutex
	users  int // models over it
	closed bool
	held   *train.Held // nil where the base is its own
}

// Open opens the base model in the folder dir with its weights stored as storage says: a [quant.Spec] such as "bfloat16",
// "bfloat16+nf4" or "bfloat16@mapped"; "" for float32, "auto" for what this machine computes fastest with. It is opened for the
// adapters in the folders that are named, which may be none: with the head of classes that one of them has, which goes with no other
// adapter, and with the embeddings that one of them brings.
//
// [quant.Spec]: https://pkg.go.dev/github.com/adaptflow/adaptflow/quant#Spec
func Open(dir, storage string, adapters ...string) (*Base, error) {
	return open(dir, storage, false, adapters)
}

// CheckStorage is the error that Open has for storage, nil where it can be opened so.
func CheckStorage(storage string) error {
	_, err := quant.ParseSpec(train.ResolveDType(storage))
	return err
}

// Hold is Open of a base that is loaded once for all of this process who hold it at a time: see [train.Hold].
func Hold(dir, storage string, adapters ...string) (*Base, error) {
	return open(dir, storage, true, adapters)
}

func open(dir, storage string, shared bool, adapters []string) (*Base, error) {
	task, err := taskOf(adapters)
	if err != nil {
		return nil, err
	}
	task, err = train.WithEmbeddings(dir, task, adapters...)
	if err != nil {
		return nil, err
	}
	b := &Base{Dir: dir, Tokenizer: TokenizerOf(dir, task.Embeddings)}
	if shared {
		if b.held, err = train.Hold(dir, train.ResolveDType(storage), task); err != nil {
			return nil, err
		}
		b.Model = b.held.Model
		return b, nil
	}
	b.Model, err = model.LoadTask(dir, train.ResolveDType(storage), task)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// taskOf is what a base is opened for that the adapters go over: all classify, into as many classes each, or none does.
func taskOf(adapters []string) (task model.Task, err error) {
	first := ""
	for _, a := range adapters {
		if a == "" {
			continue
		}
		name, classes, err := peft.TaskOf(a)
		if err != nil {
			return task, err
		}
		switch {
		case first == "" && classes > 0:
			task = model.Task{Type: name, NumLabels: classes}
		case first != "" && classes != task.NumLabels:
			return task, fmt.Errorf("the adapters %s and %s are for heads of %d and %d classes (0 for a language model): load them apart",
				first, a, task.NumLabels, classes)
		}
		first = a
	}
	return task, nil
}

// TokenizerOf is the folder whose tokenizer goes with a base model and an adapter: the adapter's, where its training saved one with it.
func TokenizerOf(dir, adapter string) string {
	if adapter != "" {
		if _, err := os.Stat(filepath.Join(adapter, "tokenizer.json")); err == nil {
			return adapter
		}
	}
	return dir
}

// With makes a model that answers with an adapter over the base; without one where the folder is empty. The adapter may be of
// any method.
func (b *Base) With(adapter string) (*Model, error) {
	if adapter == "" {
		return b.alone(), nil
	}
	a, err := train.OpenAdapter(b.Model, adapter, "", nil, b.Dir, 0)
	if err != nil {
		return nil, err
	}
	return b.over(a, adapter), nil
}

// Over makes a model that answers with an adapter, which was opened for the base from a folder ([train.OpenAdapter]).
func (b *Base) Over(a *peft.Adapter, folder string) *Model { return b.over(a, folder) }

// over is the model with an adapter that was opened from a folder.
func (b *Base) over(a *peft.Adapter, folder string) *Model {
	m := b.alone()
	m.tokens = TokenizerOf(b.Dir, folder)
	m.Adapter, m.Adapters, m.Framed = a, []nn.Adapter{a}, true
	return m
}

// WithNamed makes a model that answers with several adapters over the base: with those that [Model.As] names, or each row of a
// batch with its own ([Model.Logits]); until then as the base alone. Their methods must be ones that can be mixed, see
// [peft.Set].
func (b *Base) WithNamed(adapters ...Named) (_ *Model, err error) {
	m := b.alone()
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	m.set = &peft.Set{}
	for _, n := range adapters {
		a, err := train.OpenAdapter(b.Model, n.Dir, "", nil, b.Dir, 0)
		if err != nil {
			return nil, err
		}
		if err := m.set.Add(n.Name, a); err != nil {
			return nil, err
		}
	}
	m.Adapters = m.set.Adapters()
	m.Framed, m.slot = len(m.Adapters) > 0, -1
	return m, nil
}

func (b *Base) alone() *Model {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		panic("infer: a closed base is used")
	}
	b.users++
	return &Model{Dir: b.Dir, Base: b.Model, Params: nn.NewParams(1), Pool: pool.New(0), tokens: b.Tokenizer, over: b}
}

// Close gives the base up: no further model stands over it. Its memory is freed when the last that does is closed, at once
// where none does.
func (b *Base) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	return b.free()
}

// free frees the weights where nobody needs them.
func (b *Base) free() error {
	if !b.closed || b.users > 0 {
		return nil
	}
	if b.held != nil {
		return b.held.Release()
	}
	kernels.FreeIdle()
	return b.Model.Close()
}

// leave is called when a model over the base is closed.
func (b *Base) leave() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.users--
	return b.free()
}

// load opens a base and the model over it that with makes; the two are closed together.
func load(dir, storage string, with func(b *Base) (*Model, error), adapters ...string) (*Model, error) {
	b, err := Open(dir, storage, adapters...)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return with(b)
}

// Load opens the base model in the folder dir, stored as in [Open], with the adapter of a folder; "" for none.
func Load(dir, storage, adapter string) (*Model, error) {
	return load(dir, storage, func(b *Base) (*Model, error) { return b.With(adapter) }, adapter)
}

// LoadNamed is Load with several adapters by name, as [Base.WithNamed] has them.
func LoadNamed(dir, storage string, adapters ...Named) (*Model, error) {
	var dirs []string
	for _, n := range adapters {
		dirs = append(dirs, n.Dir)
	}
	return load(dir, storage, func(b *Base) (*Model, error) { return b.WithNamed(adapters...) }, dirs...)
}

// framed opens a tokenizer, with what stands around a text.
func framed(dir string, ends tokenize.Ends) (tokenize.Tokenizer, *tokenize.Frame, error) {
	tk, err := tokenize.Load(dir)
	if err != nil {
		return nil, nil, err
	}
	f, err := ends.Frame(tk)
	return tk, f, err
}
