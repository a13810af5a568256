package peft

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/adaptflow/adaptflow/internal/adapterfile"
	"github.com/adaptflow/adaptflow/internal/nearest"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// The files of an adapter folder.
const (
	ConfigFile = "adapter_config.json"
	TensorFile = adapterfile.Tensors
	CardFile   = "README.md"
	pickleFile = "adapter_model.bin"
	modelFile  = "config.json"
)

// Open reads an adapter folder in HF's format and attaches it to the sites. A missing, extra or mis-shaped tensor, a value
// that is not finite, and a base embedding that is not this model's are errors naming the tensor.
func Open(dir string, sites []nn.Site, env Env) (*Adapter, error) {
	raw, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	var head struct {
		PeftType string  `json:"peft_type"`
		Base     *string `json:"base_model_name_or_path"`
	}
	if flat, ok, err := hubConfig(raw); err != nil {
		return nil, fmt.Errorf("peft: %s: %w", storage.Join(dir, ConfigFile), err)
	} else if ok {
		raw = flat
	}
	if err := decodeHead(dir, raw, &head); err != nil {
		return nil, err
	}
	if head.PeftType == "" {
		return nil, fmt.Errorf("peft: %s names no peft_type: it is the method's name, such as \"LORA\"", storage.Join(dir, ConfigFile))
	}
	a, err := build(head.PeftType, raw, sites, env, shapesOf(dir))
	if err != nil {
		return nil, fmt.Errorf("%s: %w%s", dir, err, madeFor(head.Base, env))
	}
	a.dir = dir
	if r, ok := a.Method.(interface{ reopen() error }); ok {
		if err := r.reopen(); err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
	}
	if err := a.read(dir); err != nil {
		return nil, fmt.Errorf("%w%s", err, madeFor(head.Base, env))
	}
	return a, nil
}

// Ignored names the fields of the configuration in dir that opening it passes over, in their order: what a later version of PEFT added and the adapter does not
// use, and what changes nothing of a trained adapter. A folder that cannot be opened has none here.
func Ignored(dir string) []string {
	raw, err := readConfig(dir)
	if err != nil {
		return nil
	}
	if flat, ok, err := hubConfig(raw); err == nil && ok {
		raw = flat
	}
	var head struct {
		PeftType string `json:"peft_type"`
	}
	if json.Unmarshal(raw, &head) != nil {
		return nil
	}
	row, err := find(head.PeftType)
	if err != nil {
		return nil
	}
	m := row.New()
	ignored, _ := decodeConfig(row.Type, raw, m.Config(), unusedOf(m), true)
	return ignored
}

// readConfig reads the configuration of an adapter folder, and says what is wrong with one that has none.
func readConfig(dir string) ([]byte, error) {
	raw, err := storage.ReadSmall(storage.Join(dir, ConfigFile), storage.KindConfig)
	if err == nil {
		return raw, nil
	}
	kind := "has no " + ConfigFile
	if storage.IsLocal(dir) {
		switch info, err := os.Stat(storage.Local(dir)); {
		case errors.Is(err, os.ErrNotExist):
			kind = "does not exist"
		case err == nil && !info.IsDir():
			kind = "is a file"
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("peft: %w", err)
	}
	return nil, &noFolder{fmt.Sprintf("peft: %s %s; an adapter is a folder with %s and %s, as a run's %s", dir, kind, ConfigFile, TensorFile, "adapter/"), err}
}

// BaseOf reads the base model that the adapter in dir names; "" where it names none.
func BaseOf(dir string) (string, error) {
	raw, err := readConfig(dir)
	if err != nil {
		return "", err
	}
	var head struct {
		Base *string `json:"base_model_name_or_path"`
	}
	if err := decodeHead(dir, raw, &head); err != nil || head.Base == nil {
		return "", err
	}
	return *head.Base, nil
}

// noFolder is the error of a folder that is no adapter's. Its words need none of the cause's.
type noFolder struct {
	words string
	cause error
}

func (e *noFolder) Error() string { return e.words }
func (e *noFolder) Unwrap() error { return e.cause }

// decodeHead reads the fields of a configuration that v has.
func decodeHead(dir string, raw []byte, v any) error {
	err := json.Unmarshal(raw, v)
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("peft: %s: field %s is a %s; want %s", storage.Join(dir, ConfigFile), kind.Field, kind.Value, typeWords(kind.Type, false))
	case errors.As(err, &kind):
		return fmt.Errorf("peft: %s is a JSON %s; an adapter's configuration is an object", storage.Join(dir, ConfigFile), kind.Value)
	}
	return fmt.Errorf("peft: %s is no JSON, or cut off: %w", storage.Join(dir, ConfigFile), err)
}

// shapesOf gives the shapes of a folder's tensors. One that cannot be read has none here; read says why.
func shapesOf(dir string) func(key string) []int {
	return func(key string) []int {
		f, err := openTensors(dir)
		if err != nil {
			return nil
		}
		defer f.Close()
		i, _ := f.Info(key)
		return i.Shape
	}
}

// tensor is z as it is saved.
func (z *Frozen) tensor() safetensors.Tensor {
	v := z.Values()
	if !z.Int {
		return safetensors.F32(z.Key, v, z.Shape...)
	}
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(int32(x)))
	}
	return safetensors.Tensor{Name: z.Key, DType: "I32", Shape: z.Shape, Raw: raw}
}

// madeFor is a hint for errors: the base that the adapter names, when it is not this one.
func madeFor(base *string, env Env) string {
	if base == nil || env.BaseModel == "" || *base == env.BaseModel {
		return ""
	}
	return fmt.Sprintf(" (the adapter was made for base model %q, this one is %q)", *base, env.BaseModel)
}

// read loads the tensors of a folder and checks them against what the adapter has.
func (a *Adapter) read(dir string) error {
	path := storage.Join(dir, tensorFile(a.Method))
	files, err := adapterfile.Files(dir, tensorFile(a.Method))
	if err != nil {
		return fmt.Errorf("peft: %w", err)
	}
	if ok, err := storage.Exists(files[0]); err != nil {
		return fmt.Errorf("peft: %w", err)
	} else if !ok {
		name := pickleFile
		if f := formatOf(a.Method); f != nil {
			name = f.pickle
		}
		pickle := storage.Join(filepath.Dir(path), name)
		if ok, _ := storage.Exists(pickle); ok {
			return fmt.Errorf("peft: %s is a pickle, which can run code when it is read; convert it: "+
				"python -c \"import torch, safetensors.torch as s; s.save_file(torch.load('%s', weights_only=True), '%s', metadata={'format': 'pt'})\"",
				pickle, name, filepath.Base(path))
		}
		return fmt.Errorf("peft: %s does not exist, though the adapter's %s does: copy the whole folder", path, ConfigFile)
	}
	f, err := adapterfile.Open(dir, tensorFile(a.Method))
	if err != nil {
		return fmt.Errorf("peft: %w", err)
	}
	defer f.Close()
	a.loaded = map[string][]float32{}
	a.kept = nil
	known := map[string]bool{}
	if e, ok := a.Method.(Encoder); ok {
		if err := e.Reopen(func(key string, shape ...int) ([]float32, error) {
			known[key] = true
			return tensor(f, path, key, shape)
		}); err != nil {
			return err
		}
	}
	store, _ := a.Method.(storer)
	for _, p := range a.Params() {
		if p.Key == "" {
			v := make([]float32, p.Size())
			p.Init(v)
			a.loaded[p.Name] = v
			continue
		}
		var v []float32
		if store != nil {
			var keys []string
			if v, keys, err = store.restored(p, f, path); err != nil {
				return err
			}
			for _, k := range keys {
				known[k] = true
			}
		}
		if v == nil {
			if v, err = tensor(f, path, p.Key, p.Shape); err != nil {
				return err
			}
			known[p.Key] = true
		}
		for _, k := range p.Also {
			same, err := tensor(f, path, k, p.Shape)
			if err != nil {
				return err
			}
			if !slices.Equal(same, v) {
				return fmt.Errorf("peft: %s: the tensors %q and %q are one parameter, but they differ", path, p.Key, k)
			}
			known[k] = true
		}
		a.loaded[p.Name] = v
		p.Init = func(d []float32) { copy(d, v) }
	}
	for _, z := range a.Frozen() {
		known[z.Key] = true
		info, ok := f.Info(z.Key)
		if !ok && !z.Need {
			continue // HF writes an embedding only with save_embedding_layers
		}
		read := tensor
		if z.Int {
			read = integers
		}
		v, err := read(f, path, z.Key, z.Shape)
		if err != nil {
			return err
		}
		if z.Load != nil {
			if z.Check != nil {
				if err := z.Check(v); err != nil {
					return fmt.Errorf("peft: %s: tensor %q: %w", path, z.Key, err)
				}
			}
			z.Load(v)
			continue
		}
		if err := sameAsBase(z.Key, info.DType, v, z.Values()); err != nil {
			return fmt.Errorf("peft: %s: %w", path, err)
		}
	}
	if err := a.readKept(f, path, known); err != nil {
		return err
	}
	for _, name := range f.Names() {
		if !known[name] {
			return fmt.Errorf("peft: %s: tensor %q has no place in this adapter; the nearest that has one is %q", path, name, nearest.Name(name, sortedKeys(known)))
		}
	}
	return nil
}

// located is what the header says of a tensor, which must be there with that shape.
func located(f safetensors.Source, path, key string, shape []int) (safetensors.Info, error) {
	info, ok := f.Info(key)
	if !ok {
		return info, fmt.Errorf("peft: %s: tensor %q is missing; the nearest there is %q", path, key, nearest.Name(key, f.Names()))
	}
	if !slices.Equal(info.Shape, shape) {
		return info, fmt.Errorf("peft: %s: tensor %q has the shape %v, the configuration and the base model want %v", path, key, info.Shape, shape)
	}
	return info, nil
}

// whole says whether a dtype of the file is one of whole numbers.
func whole(dtype string) bool { return strings.HasPrefix(dtype, "I") || strings.HasPrefix(dtype, "U") }

// integers reads a tensor of whole numbers.
func integers(f safetensors.Source, path, key string, shape []int) ([]float32, error) {
	info, err := located(f, path, key, shape)
	if err != nil {
		return nil, err
	}
	if !whole(info.DType) {
		return nil, fmt.Errorf("peft: %s: tensor %q has the dtype %s; it holds whole numbers, such as I32", path, key, info.DType)
	}
	ints, err := f.Int64(key)
	if err != nil {
		return nil, fmt.Errorf("peft: %w", err)
	}
	v := make([]float32, len(ints))
	for i, x := range ints {
		v[i] = float32(x)
	}
	return v, nil
}

// tensor reads a tensor of floating-point values, which must be finite.
func tensor(f safetensors.Source, path, key string, shape []int) ([]float32, error) {
	info, err := located(f, path, key, shape)
	if err != nil {
		return nil, err
	}
	if whole(info.DType) || info.DType == "BOOL" {
		return nil, fmt.Errorf("peft: %s: tensor %q has the dtype %s; an adapter's values are F32, F16 or BF16", path, key, info.DType)
	}
	v, err := f.Float32(key)
	if err != nil {
		return nil, fmt.Errorf("peft: %w", err)
	}
	if i := kernels.NonFinite(v); i >= 0 {
		return nil, fmt.Errorf("peft: %s: tensor %q has the value %g at %d", path, key, v[i], i)
	}
	return v, nil
}

// ConfigJSON is the adapter_config.json that Save writes.
func (a *Adapter) ConfigJSON() []byte { return a.configJSON(a.Config(), a.Method.(settled).common()) }

// configJSON is the text of a configuration whose common fields are c.
func (a *Adapter) configJSON(config any, c *Common) []byte {
	saved := *c
	defer func() { *c = saved }()
	c.InferenceMode, c.PeftVersion = true, peftVersion
	if a.env.BaseModel != "" {
		c.BaseModel = &a.env.BaseModel
	}
	if a.env.Revision != "" {
		c.Revision = &a.env.Revision
	}
	if c.TaskType == nil {
		t := "CAUSAL_LM"
		c.TaskType = &t
	}
	if f, ok := a.Method.(formatted); ok {
		return f.encoded()
	}
	return encodeConfig(config, unusedOf(a.Method))
}

// Save writes one slot of params as an adapter folder that HF PEFT loads: adapter_config.json, adapter_model.safetensors
// the model card README.md, and of a classifier the base's config.json with the classes (see [Card]). On a local disk the folder appears whole: it is written beside dir and renamed, and a folder that
// was there is replaced when it is an adapter folder, refused otherwise. On an object store the configuration is
// written last. The bytes depend on the configuration, the values and the card alone.
//
// An adapter whose folder could not be opened again (init_lora_weights "pissa_niter_N") is written as SaveConverted does.
func (a *Adapter) Save(dir string, params *nn.Params, slot int, card Card) error {
	if r, ok := a.Method.(interface{ reopen() error }); ok && r.reopen() != nil {
		return a.SaveConverted(dir, params, slot, card)
	}
	ts, err := a.tensors(params, slot)
	if err != nil {
		return fmt.Errorf("%w; nothing was written to %s", err, dir)
	}
	return a.save(dir, ts, a.ConfigJSON(), card)
}

// tensors are those of one slot, as the folder has them.
func (a *Adapter) tensors(params *nn.Params, slot int) ([]safetensors.Tensor, error) {
	var ts []safetensors.Tensor
	store, _ := a.Method.(storer)
	if store != nil {
		store.saving(slot)
	}
	for _, p := range a.Params() {
		v, err := a.values(params, p, slot)
		if err != nil {
			return nil, err
		}
		if store != nil {
			if own := store.stored(p, v, slot); own != nil {
				ts = append(ts, own...)
				continue
			}
		}
		if i := kernels.NonFinite(v); i >= 0 {
			return nil, fmt.Errorf("peft: parameter %s has the value %g at %d; the training has diverged", p.Name, v[i], i)
		}
		if p.Key != "" {
			for _, key := range append([]string{p.Key}, p.Also...) {
				ts = append(ts, safetensors.F32(key, v, p.Shape...))
			}
		}
	}
	if e, ok := a.Method.(Encoder); ok {
		for _, z := range e.Encode(func(name string) []float32 { return params.Get(name).Slot(slot) }) {
			ts = append(ts, safetensors.F32(z.Key, z.Values(), z.Shape...))
		}
	}
	for _, z := range a.Frozen() {
		ts = append(ts, z.tensor())
	}
	prompts := slices.ContainsFunc(ts, func(t safetensors.Tensor) bool { return t.Name == adapterfile.PromptTensor })
	for _, z := range a.keeps() {
		t := z.tensor()
		t.Name = adapterfile.InFile(t.Name, prompts)
		ts = append(ts, t)
	}
	return ts, nil
}

// save writes a folder.
func (a *Adapter) save(dir string, ts []safetensors.Tensor, config []byte, card Card) error {
	write := func(to string) error {
		if err := storage.MkdirShared(to); err != nil {
			return err
		}
		if err := safetensors.WriteShared(storage.Join(to, tensorFile(a.Method)), ts, map[string]string{"format": "pt"}); err != nil {
			return err
		}
		if err := storage.WriteShared(storage.Join(to, CardFile), []byte(card.render(a))); err != nil {
			return err
		}
		if from := a.env.Embeddings; from != "" {
			if err := adapterfile.CopyTokenizer(to, from); err != nil {
				return err
			}
		}
		if card.ModelConfig != nil {
			if err := storage.WriteShared(storage.Join(to, modelFile), card.ModelConfig); err != nil {
				return err
			}
		}
		return storage.WriteShared(storage.Join(to, ConfigFile), config)
	}
	if !storage.IsLocal(dir) {
		if err := write(dir); err != nil {
			return fmt.Errorf("peft: saving the adapter: %w", err)
		}
		return nil
	}
	if err := replaceDir(filepath.Clean(storage.Local(dir)), write); err != nil {
		return fmt.Errorf("peft: saving the adapter: %w", err)
	}
	return nil
}

// replaceDir lets write fill a temporary folder beside dir and puts it in dir's place.
func replaceDir(dir string, write func(string) error) error {
	old := false
	if entries, err := os.ReadDir(dir); err == nil {
		old = true
		for _, e := range entries {
			if n := e.Name(); n != ConfigFile && n != TensorFile && n != hub.tensors && n != CardFile && n != modelFile && !slices.Contains(adapterfile.TokenizerFiles, n) && !strings.HasPrefix(n, ".") {
				return fmt.Errorf("%s holds %s, which is no file of an adapter; choose another folder or remove it", dir, n)
			}
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := storage.MkdirShared(filepath.Dir(dir)); err != nil {
		return err
	}
	mask := "." + filepath.Base(dir) + ".tmp-*"
	// What a killed writer of the same folder left; a folder has one writer at a time.
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), mask)); err == nil {
		for _, l := range left {
			if err := os.RemoveAll(l); err != nil {
				return err
			}
		}
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), mask)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	fresh := filepath.Join(tmp, "new")
	if err := write(fresh); err != nil {
		return err
	}
	if old {
		if storage.Exchange(fresh, dir) == nil { // at no moment is there neither
			return nil
		}
		if err := os.Rename(dir, filepath.Join(tmp, "old")); err != nil {
			return err
		}
	}
	if err := os.Rename(fresh, dir); err != nil {
		if old {
			err = errors.Join(err, os.Rename(filepath.Join(tmp, "old"), dir))
		}
		return err
	}
	return nil
}

// CopyFolder makes the adapter folder at to a copy of the one at from, as a whole or not at all. What else to holds is an error that names it.
func CopyFolder(to, from string) error {
	return replaceDir(to, func(dir string) error {
		es, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, e := range es {
			if err := storage.CopyShared(filepath.Join(dir, e.Name()), filepath.Join(from, e.Name())); err != nil {
				return err
			}
		}
		return nil
	})
}

// TaskOf reads what the adapter in dir was trained for: its task_type (CAUSAL_LM where it names none), and of a classifier the number of classes.
func TaskOf(dir string) (task string, classes int, err error) {
	raw, err := readConfig(dir)
	if err != nil {
		return "", 0, err
	}
	var c struct {
		TaskType *string `json:"task_type"`
	}
	if err := decodeHead(dir, raw, &c); err != nil {
		return "", 0, err
	}
	if c.TaskType == nil || *c.TaskType != seqCls {
		return causalLM, 0, nil
	}
	path := storage.Join(dir, TensorFile)
	f, err := openTensors(dir)
	if err != nil {
		return "", 0, fmt.Errorf("peft: %w", err)
	}
	defer f.Close()
	info, ok := f.Info(prefix + "score.weight")
	if !ok || len(info.Shape) != 2 {
		return "", 0, fmt.Errorf("peft: %s: the adapter is a classifier's, but it has no tensor %q", path, prefix+"score.weight")
	}
	return seqCls, info.Shape[0], nil
}

// ClassNames reads the names of the classes, by number, from the config.json that a classifier's folder holds; nil where it holds none.
func ClassNames(dir string) ([]string, error) {
	path := storage.Join(dir, modelFile)
	raw, err := storage.ReadSmall(path, storage.KindConfig)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("peft: %w", err)
	}
	var c struct {
		Names map[string]string `json:"id2label"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("peft: %s: %w", path, err)
	}
	out := make([]string, len(c.Names))
	for i := range out {
		name, ok := c.Names[strconv.Itoa(i)]
		if !ok {
			return nil, fmt.Errorf("peft: %s: id2label has %d names, but none of the class %d", path, len(out), i)
		}
		out[i] = name
	}
	return out, nil
}
