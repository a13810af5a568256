package peft

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/adapterfile"
	"github.com/adaptflow/adaptflow/internal/nearest"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/kernels"
)

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

// read loads the tensors of a folder and checks them against what the adapter has.
func (a *Adapter) read(dir string) error {
	path := storage.Join(dir, tensorFile(a.Method))
	if err := a.present(dir, path); err != nil {
		return err
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
	for _, p := range a.Params() {
		if err := a.readParam(p, f, path, known); err != nil {
			return err
		}
	}
	for _, z := range a.Frozen() {
		known[z.Key] = true
		if err := z.read(f, path); err != nil {
			return err
		}
	}
	if err := a.readKept(f, path, known); err != nil {
		return err
	}
	for _, name := range f.Names() {
		if !known[name] {
			return fmt.Errorf("peft: %s: tensor %q has no place in this adapter; the nearest that has one is %q", path, name,
				nearest.Name(name, sortedKeys(known)))
		}
	}
	return nil
}

// present says why a folder has no tensors that can be read.
func (a *Adapter) present(dir, path string) error {
	files, err := adapterfile.Files(dir, tensorFile(a.Method))
	if err != nil {
		return fmt.Errorf("peft: %w", err)
	}
	if ok, err := storage.Exists(files[0]); err != nil {
		return fmt.Errorf("peft: %w", err)
	} else if ok {
		return nil
	}
	name := pickleFile
	if f := formatOf(a.Method); f != nil {
		name = f.pickle
	}
	pickle := storage.Join(filepath.Dir(path), name)
	if ok, _ := storage.Exists(pickle); ok {
		return fmt.Errorf("peft: %s is a pickle, which can run code when it is read; convert it: "+
			"python -c \"import torch, safetensors.torch as s; s.save_file(torch.load('%s', weights_only=True), '%s', "+
			"metadata={'format': 'pt'})\"",
			pickle, name, filepath.Base(path))
	}
	return fmt.Errorf("peft: %s does not exist, though the adapter's %s does: copy the whole folder", path, ConfigFile)
}

// readParam reads the values of a parameter, from which it then starts, and adds the names of its tensors to known.
func (a *Adapter) readParam(p *Param, f safetensors.Source, path string, known map[string]bool) error {
	if p.Key == "" {
		v := make([]float32, p.Size())
		p.Init(v)
		a.loaded[p.Name] = v
		return nil
	}
	var v []float32
	if store, ok := a.Method.(storer); ok {
		var keys []string
		var err error
		if v, keys, err = store.restored(p, f, path); err != nil {
			return err
		}
		for _, k := range keys {
			known[k] = true
		}
	}
	if v == nil {
		var err error
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
	return nil
}

// read loads a frozen tensor or compares it with what it must be.
func (z *Frozen) read(f safetensors.Source, path string) error {
	info, ok := f.Info(z.Key)
	if !ok && !z.Need {
		return nil // HF writes an embedding only with save_embedding_layers
	}
	read := tensor
	if z.Int {
		read = integers
	}
	v, err := read(f, path, z.Key, z.Shape)
	if err != nil {
		return err
	}
	if z.Load == nil {
		if err := sameAsBase(z.Key, info.DType, v, z.Values()); err != nil {
			return fmt.Errorf("peft: %s: %w", path, err)
		}
		return nil
	}
	if z.Check != nil {
		if err := z.Check(v); err != nil {
			return fmt.Errorf("peft: %s: tensor %q: %w", path, z.Key, err)
		}
	}
	z.Load(v)
	return nil
}

// located is what the header says of a tensor, which must be there with that shape.
func located(f safetensors.Source, path, key string, shape []int) (safetensors.Info, error) {
	info, ok := f.Info(key)
	if !ok {
		return info, fmt.Errorf("peft: %s: tensor %q is missing; the nearest there is %q", path, key, nearest.Name(key, f.Names()))
	}
	if !slices.Equal(info.Shape, shape) {
		return info, fmt.Errorf("peft: %s: tensor %q has the shape %v, the configuration and the base model want %v", path,
			key, info.Shape, shape)
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
