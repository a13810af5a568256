package model

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/internal/adapterfile"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
)

var dtypeNames = map[string]string{"float32": "F32", "float16": "F16", "bfloat16": "BF16"}

// Save writes the model's folder to dst with some tensors replaced: replaced maps a parameter name or a name in the file to values in the
// stored layout. A tensor of a head that is tied to the embedding unties them (tie_word_embeddings: false). dtype is the storage of all
// floating-point tensors, empty for what each has. The tokenizer's files are copied. config.json, without which a folder is not a model, is
// written last.
func (m *Model) Save(dst, dtype string, replaced map[string][]float32) error {
	sizes := map[string]int{}
	for name, v := range replaced {
		sizes[name] = len(v)
	}
	return m.SaveWith(dst, dtype, sizes, func(name string) ([]float32, error) { return replaced[name], nil })
}

// SaveWith is Save with replaced tensors of which load gives one when it is written: sizes has their numbers of values. Beside what load
// keeps, one tensor at a time is in memory.
func (m *Model) SaveWith(dst, dtype string, sizes map[string]int, load func(name string) ([]float32, error)) error {
	if _, ok := dtypeNames[dtype]; !ok && dtype != "" {
		return fmt.Errorf("dtype %q is unknown; known are float32, float16, bfloat16", dtype)
	}
	if m.dir == "" {
		return fmt.Errorf("a model of random weights has no files to write")
	}
	if _, ok := m.Config.raw["quantization_config"]; ok && len(sizes) > 0 {
		return fmt.Errorf("%s is quantised and cannot hold changed weights: merge into the model it was made from", m.dir)
	}
	src, err := m.source()
	if err != nil {
		return err
	}
	defer src.Close()
	untied := m.Config.Tied && m.Config.Task != "SEQ_CLS" && slices.ContainsFunc(slices.Collect(maps.Keys(sizes)), isLMHead)
	ts, err := m.tensors(src, dtype, untied, m.replacements(sizes, load))
	if err != nil {
		return err
	}
	if err := storage.MkdirShared(dst); err != nil {
		return err
	}
	if err := writeWeights(dst, ts); err != nil {
		return err
	}
	return m.writeConfig(dst, dtype, untied)
}

// replacements are what takes the place of tensors of the file, by their names there.
func (m *Model) replacements(sizes map[string]int, load func(name string) ([]float32, error)) map[string]replacement {
	byFile := map[string]replacement{}
	for name, n := range sizes {
		file := name
		if s, ok := m.stored[name]; ok {
			file = s.Name
		}
		byFile[file] = replacement{n, func() ([]float32, error) { return load(name) }}
	}
	for name, v := range m.Config.fresh {
		if _, ok := byFile[name]; !ok {
			byFile[name] = replacement{len(v), func() ([]float32, error) { return v, nil }}
		}
	}
	return byFile
}

// tensors are those of a folder with some of src's replaced, in src's order, then those that it lacks.
func (m *Model) tensors(src safetensors.Source, dtype string, untied bool, byFile map[string]replacement) ([]safetensors.Tensor, error) {
	var ts []safetensors.Tensor
	for _, n := range src.Names() {
		if m.Config.Task == "SEQ_CLS" && isLMHead(n) {
			continue // a classifier's folder has none
		}
		info, _ := src.Info(n)
		to := info.DType
		if d, ok := dtypeNames[dtype]; ok && floating[info.DType] {
			to = d
		}
		v, ok := byFile[n]
		delete(byFile, n)
		if !ok {
			if to == info.DType {
				ts = append(ts, safetensors.Copy(src, n))
				continue
			}
			v = replacement{info.Len(), func() ([]float32, error) { return src.Float32(n) }}
		}
		if v.n != info.Len() {
			return nil, fmt.Errorf("tensor %q: %d values for shape %v", n, v.n, info.Shape)
		}
		ts = append(ts, v.tensor(n, to, info.Shape))
	}
	for name := range m.Config.fresh {
		to := cmp.Or(dtypeNames[dtype], "F32")
		v := byFile[name]
		ts = append(ts, v.tensor(name, to, []int{m.Config.NumLabels, v.n / m.Config.NumLabels}))
		delete(byFile, name)
	}
	for name, v := range byFile {
		if !untied || !isLMHead(name) {
			continue
		}
		to := cmp.Or(dtypeNames[cmp.Or(dtype, m.Config.DType)], "F32")
		ts = append(ts, v.tensor(name, to, []int{m.Config.Vocab, v.n / m.Config.Vocab}))
		delete(byFile, name)
	}
	if len(byFile) > 0 {
		return nil, fmt.Errorf("%s: no tensor %q to replace", m.dir, slices.Sorted(maps.Keys(byFile))[0])
	}
	return ts, nil
}

// writeConfig writes config.json and the other files that are not weights.
func (m *Model) writeConfig(dst, dtype string, untied bool) error {
	config := maps.Clone(m.Config.raw)
	if err := m.copyRest(dst, config); err != nil {
		return err
	}
	if dtype != "" {
		quoted, _ := json.Marshal(dtype)
		delete(config, "torch_dtype")
		config["dtype"] = quoted
	}
	if untied {
		config["tie_word_embeddings"] = json.RawMessage("false")
	}
	if m.Config.Task == "SEQ_CLS" {
		if err := m.Config.classification(m.family, config); err != nil {
			return err
		}
	}
	raw, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	return storage.WriteShared(filepath.Join(dst, "config.json"), append(raw, '\n'))
}

// replacement is a tensor of n values that takes the place of one of the file.
type replacement struct {
	n    int
	load func() ([]float32, error)
}

func (r replacement) tensor(name, dtype string, shape []int) safetensors.Tensor {
	return safetensors.Tensor{Name: name, DType: dtype, Shape: shape, Load: func() (safetensors.Tensor, error) {
		x, err := r.load()
		if err == nil && dtype == "F16" {
			err = inFloat16(name, x)
		}
		return safetensors.Tensor{Data: x}, err
	}}
}

// inFloat16 refuses values that float16 would make infinite.
func inFloat16(name string, x []float32) error {
	for i, v := range x {
		if v >= 65520 || v <= -65520 { // what is nearer to 65504 is rounded to it
			return fmt.Errorf("tensor %q has the value %g at %d, beyond what float16 holds: write bfloat16 or float32", name, v, i)
		}
	}
	return nil
}

// floating are the dtypes that a model's dtype applies to.
var floating = map[string]bool{"F64": true, "F32": true, "F16": true, "BF16": true}

// writeWeights writes the weights of a folder as one file. Shards and their index, which an older model may have left there, go first:
// readers would take them for the model.
func writeWeights(dst string, ts []safetensors.Tensor) error {
	for _, pattern := range []string{"model.safetensors.index.json", "model-*-of-*.safetensors"} {
		old, err := filepath.Glob(filepath.Join(dst, pattern))
		if err != nil {
			return err
		}
		for _, f := range old {
			if err := os.Remove(f); err != nil {
				return err
			}
		}
	}
	return safetensors.WriteShared(filepath.Join(dst, "model.safetensors"), ts, map[string]string{"format": "pt"})
}

// copyRest copies the files of the folder that are not weights; those of the tokenizer from where that comes from. config is to become
// config.json.
func (m *Model) copyRest(dst string, config map[string]json.RawMessage) error {
	if err := m.copyGeneration(dst, config); err != nil {
		return err
	}
	return adapterfile.CopyTokenizer(dst, m.tokenizer)
}
