package model

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/quant"
)

// Model is a frozen base model: its configuration, its weights and the wiring of its forward pass. It may be used by
// several programs at once.
type Model struct {
	Config    Config
	family    *family
	dir       string
	task      Task
	tokenizer string // folder of the tokenizer's files that Save copies
	ends      bool   // EndAt was called with tokens that the folder does not name
	wiring    nn.Wiring
	params    int64
	bytes     int64
	// streamed are the bytes of matrices of which one at a time is in memory, and largest those of the largest.
	streamed, largest int64
	stored            map[string]Stored

	weights []quant.Weight     // until Close
	src     safetensors.Source // until Close, of weights that are read again
	closed  bool
	hashing sync.Mutex
	hash    string
}

// Load reads the Hugging Face folder dir: config.json and safetensors weights, one file or shards. Matrices are stored as float32.
func Load(dir string) (*Model, error) { return LoadAs(dir, "float32") }

// LoadTask is LoadAs for a task, such as a classifier over a language model's folder.
func LoadTask(dir, storage string, task Task) (*Model, error) { return load(dir, storage, task) }

// LoadAs is Load with the matrices stored as a [quant.Spec] says, such as "bfloat16" or "bfloat16+nf4". A folder that is quantised already
// is read as it is; its projections keep their codes. With "@mapped" or "@streamed" the dense matrices lie, packed, in a file of the cache
// folder.
func LoadAs(dir, storage string) (*Model, error) { return load(dir, storage, Task{}) }

func load(dir, as string, task Task) (*Model, error) {
	store, err := quant.ParseSpec(as)
	if err != nil {
		return nil, err
	}
	cfg, fam, err := configOf(dir, task)
	if err != nil {
		return nil, err
	}
	if err := cfg.readStops(dir); err != nil {
		return nil, err
	}
	src, err := openWeights(dir, cfg, fam, task)
	if err != nil {
		return nil, err
	}
	keep := false
	defer func() {
		if !keep {
			src.Close()
		}
	}()
	l := &loader{src: src, store: store, prefix: fam.prefix, threshold: cfg.int8Threshold}
	hash := ""
	if store.Place == quant.Mapped || store.Place == quant.Streamed {
		if hash, err = hashOf(dir, src); err != nil {
			return nil, err
		}
	}
	m, err := place(hash, task, cfg, fam, l)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if keep = store.Place == quant.Reread; keep {
		m.src = src
	}
	m.dir, m.hash, m.task, m.tokenizer = dir, hash, task, dir
	m.UseTokenizer(task.Embeddings)
	return m, nil
}

// configOf reads the config.json of a folder.
func configOf(dir string, task Task) (*Config, *family, error) {
	raw, err := storage.ReadSmall(filepath.Join(dir, "config.json"), storage.KindConfig)
	if err != nil {
		if _, here := os.Stat(dir); here != nil {
			return nil, nil, fmt.Errorf("%s does not exist: a model is a folder with config.json, a .gguf file, embedded:NAME, or "+
				"org/name of the hub", dir)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("%s has no config.json: a model is a folder with one, or a .gguf file", dir)
		}
		return nil, nil, err
	}
	cfg, fam, err := parseConfig(raw, task)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", dir, err)
	}
	return cfg, fam, nil
}

// openWeights opens the weights of a folder, with the embeddings of the task's adapter, whose vocabulary cfg gets.
func openWeights(dir string, cfg *Config, fam *family, task Task) (safetensors.Source, error) {
	src, err := OpenWeights(dir)
	if err != nil || task.Embeddings == "" {
		return src, err
	}
	o, err := lay(cfg, fam, src, task)
	if err != nil {
		src.Close()
		return nil, fmt.Errorf("%s: %w", task.Embeddings, err)
	}
	return o, nil
}

// source opens the weights that the model was made of.
func (m *Model) source() (safetensors.Source, error) {
	c := m.Config
	return openWeights(m.dir, &c, m.family, m.task)
}

// place is open with the matrices where the storage says. hash names what the weights are made of.
func place(hash string, task Task, cfg *Config, fam *family, l *loader) (*Model, error) {
	if l.store.Place == quant.InMemory || l.store.Place == quant.Reread {
		return open(cfg, fam, l)
	}
	p, err := openPacked(hash, l.store, task)
	if err != nil {
		return nil, err
	}
	l.place = p
	m, err := open(cfg, fam, l)
	if derr := p.done(err == nil); err == nil && derr != nil {
		m.Close()
		return nil, derr
	}
	return m, err
}

// FromConfig makes a model of the shape of a config.json with random weights, for measurements. The matrices are stored as LoadAs says.
func FromConfig(raw []byte, seed uint64, storage string) (*Model, error) {
	store, err := quant.ParseSpec(storage)
	if err != nil {
		return nil, err
	}
	cfg, fam, err := parseConfig(raw, Task{})
	if err != nil {
		return nil, err
	}
	made := sha256.Sum256(fmt.Appendf(nil, "random weights of seed %d\n%s", seed, raw))
	return place(hex.EncodeToString(made[:]), Task{}, cfg, fam, &loader{seed: seed, store: store})
}

func open(cfg *Config, fam *family, l *loader) (_ *Model, err error) {
	l.used, l.stored = map[string]bool{}, map[string]Stored{}
	m := &Model{family: fam}
	defer mem.Catch(&err,
		"store the weights smaller, by model.dtype bfloat16 or load_in_4bit, or outside memory, by model.weights streamed")
	if l.src != nil {
		cfg.tensors = len(l.src.Names())
	}
	w, err := fam.open(cfg, l)
	if err == nil {
		err = l.done(fam.ignore)
	}
	m.weights = l.weights
	if err != nil {
		m.Close()
		return nil, err
	}
	m.Config, m.wiring, m.params, m.bytes, m.stored = *cfg, w, l.params, l.bytes, l.stored
	m.streamed, m.largest = l.streamed, l.largest
	if m.bytes >= 64<<20 {
		debug.FreeOSMemory() // the rows that were read are garbage, and would stay resident beside the activations
	}
	return m, nil
}

// Close returns the memory of the weights. Neither the model nor a program compiled of it may be used afterwards. Closing twice
// does nothing.
func (m *Model) Close() error {
	for _, w := range m.weights {
		if f, ok := w.(interface{ Free() }); ok {
			f.Free()
		}
	}
	m.weights, m.closed = nil, true
	if m.src != nil {
		src := m.src
		m.src = nil
		return src.Close()
	}
	return nil
}

// Wire implements nn.Wiring.
func (m *Model) Wire(b *nn.Builder) {
	if m.closed {
		panic("model: a closed model is used")
	}
	m.wiring.Wire(b)
}

// Dir is the folder that the model was loaded from, empty for a random one.
func (m *Model) Dir() string { return m.dir }

// UseTokenizer makes Save copy the tokenizer of another folder, an adapter's, where that has one.
func (m *Model) UseTokenizer(dir string) {
	if ok, err := storage.Exists(filepath.Join(dir, "tokenizer.json")); ok && err == nil && dir != "" {
		m.tokenizer = dir
	}
}

// ParamCount is the number of weights, a tied one counted once.
func (m *Model) ParamCount() int64 { return m.params }

// Bytes is what the weights take, in memory or in a file.
func (m *Model) Bytes() int64 { return m.bytes }

// Resident is the memory that the weights take at most: less than Bytes where they are streamed.
func (m *Model) Resident() int64 { return m.bytes - m.streamed + m.largest }

// Streamed is what is read of the weights, from the disk or from what the system has kept, in one pass through all layers.
func (m *Model) Streamed() int64 { return m.streamed }

// Stored says how the parameter name ("model.layers.0.mlp.up_proj.weight") lies in the model's files.
func (m *Model) Stored(name string) (Stored, bool) {
	s, ok := m.stored[name]
	return s, ok
}

// Tensor reads a parameter again from the model's files, float32 in the layout in which it is stored.
func (m *Model) Tensor(name string) ([]float32, error) {
	if x, ok := m.Config.fresh[name]; ok {
		return slices.Clone(x), nil
	}
	s, ok := m.stored[name]
	if !ok {
		return nil, fmt.Errorf("%s: no parameter %q", m.dir, name)
	}
	src, err := m.source()
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return src.Float32(s.Name)
}

// Hash is the SHA-256 of config.json and the weight files, and of the tensors that an adapter has in their place, in hexadecimal: what a
// checkpoint is bound to. It is computed once.
func (m *Model) Hash() (string, error) {
	m.hashing.Lock()
	defer m.hashing.Unlock()
	if m.hash != "" {
		return m.hash, nil
	}
	src, err := m.source()
	if err != nil {
		return "", err
	}
	defer src.Close()
	if m.hash, err = hashOf(m.dir, src); err != nil {
		return "", err
	}
	return m.hash, nil
}

func hashOf(dir string, src safetensors.Source) (string, error) {
	o, _ := src.(*overlay)
	if o != nil {
		src = o.Source
	}
	h := sha256.New()
	for _, p := range append([]string{filepath.Join(dir, "config.json")}, src.(Weights).Files()...) {
		f, err := storage.OpenFile(p)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s\x00", filepath.Base(p))
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", fmt.Errorf("%s: %w", p, err)
		}
	}
	if o != nil {
		if err := o.hash(h); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// site applies a frozen projection at a module path.
func (p linear) site(b *nn.Builder, module string, layer int, x nn.Ref) nn.Ref {
	return b.Site(nn.KindLinear, module, layer, &nn.Linear{W: p.w, Bias: p.bias, In: p.in, Out: p.out, Transposed: p.conv}, x)
}
