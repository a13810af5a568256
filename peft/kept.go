package peft

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/adapterfile"
	"github.com/adaptflow/adaptflow/internal/safetensors"
)

// HF PEFT saves the base's embedding and head beside an adapter whose model had its vocabulary resized (save_embedding_layers), whatever
// the method. Whoever opens such a folder opens the base with them first (model.Task); here they are checked, and kept for the next folder.

// readKept takes the tensors of f that are the base's embedding and head or copies of what the adapter trains of them, and adds their names
// to known.
func (a *Adapter) readKept(f safetensors.Source, path string, known map[string]bool) error {
	params := map[string]*Param{}
	for _, p := range a.Params() {
		params[p.Key] = p
	}
	embedding, head := embeddingAndHead(a.sites)
	for _, s := range weighted(a.sites) {
		if s.Name != embedding && s.Name != head {
			continue
		}
		l, _ := layoutOf(s.Op)
		for _, leaf := range []string{".weight", ".bias"} {
			shape, values := l.Shape(), l.Dense
			if leaf == ".bias" {
				if l.Bias == nil {
					continue
				}
				shape, values = []int{len(l.Bias)}, l.biasValues
			}
			for _, part := range adapterfile.BaseParts {
				key := prefix + s.Name + part + leaf
				info, ok := f.Info(key)
				if !ok || known[key] {
					continue
				}
				v, err := tensor(f, path, key, shape)
				if err != nil {
					return err
				}
				if err := sameAsBase(key, info.DType, v, values()); err != nil {
					return fmt.Errorf("peft: %s: %w", path, err)
				}
				a.kept = append(a.kept, Frozen{Key: key, Shape: shape, Values: values})
				known[key] = true
			}
			if err := a.copyOf(f, path, prefix+s.Name+".modules_to_save"+leaf, params[prefix+s.Name+leaf], known); err != nil {
				return err
			}
		}
	}
	// the tied head's are the embedding's
	for _, part := range []string{".token_adapter.trainable_tokens_delta", ".trainable_tokens_delta"} {
		if err := a.copyOf(f, path, prefix+head+part, params[prefix+embedding+part], known); err != nil {
			return err
		}
	}
	return nil
}

// keeps are the tensors of the base that the folder holds: those that an opened one had, or those of a base that was opened with an
// adapter's embeddings, by the names that PEFT gives them.
func (a *Adapter) keeps() []Frozen {
	if a.env.Embeddings == "" || len(a.kept) > 0 {
		return a.kept
	}
	have := map[string]bool{}
	for _, p := range a.Params() {
		have[p.Key] = true
	}
	for _, z := range a.Frozen() {
		have[z.Key] = true
	}
	embedding, head := embeddingAndHead(a.sites)
	var out []Frozen
	for _, s := range weighted(a.sites) {
		if s.Name != embedding && (s.Name != head || a.env.Tied || s.Name == "score") {
			continue
		}
		name := prefix + s.Name
		switch {
		case have[name+".weight"]:
			name += ".original_module"
		case slices.Contains(a.Targets(), s.Name):
			name += ".base_layer"
		case have[name+".token_adapter.trainable_tokens_delta"]:
			name += ".token_adapter.base_layer"
		}
		if l, _ := layoutOf(s.Op); !have[name+".weight"] {
			out = append(out, Frozen{Key: name + ".weight", Shape: l.Shape(), Values: l.Dense})
			if l.Bias != nil && !have[name+".bias"] {
				out = append(out, Frozen{Key: name + ".bias", Shape: []int{len(l.Bias)}, Values: l.biasValues})
			}
		}
	}
	return out
}

// copyOf takes a tensor that is a parameter once more.
func (a *Adapter) copyOf(f safetensors.Source, path, key string, p *Param, known map[string]bool) error {
	if _, ok := f.Info(key); !ok || known[key] || p == nil {
		return nil
	}
	v, err := tensor(f, path, key, p.Shape)
	if err != nil {
		return err
	}
	if !slices.Equal(v, a.loaded[p.Name]) {
		return fmt.Errorf("peft: %s: the tensors %q and %q are one parameter, but they differ", path, p.Key, key)
	}
	p.Also = append(p.Also, key)
	known[key] = true
	return nil
}

// sameAsBase compares a tensor of a folder with the base's, up to the precision of the one that has less.
func sameAsBase(key, dtype string, v, base []float32) error {
	tol := 1.0 / 128
	if dtype == "F32" && slices.ContainsFunc(base, func(x float32) bool { return math.Float32bits(x)&0xFFFF != 0 }) {
		tol = 0
	}
	for i, b := range base {
		if d := math.Abs(float64(v[i] - b)); d > tol*math.Abs(float64(b)) {
			return fmt.Errorf("tensor %q differs from the base model's at value %d (%g and %g): "+
				"the adapter belongs to another base model, or to one whose embeddings were changed", key, i, v[i], b)
		}
	}
	return nil
}

// SavedModules are the modules_to_save of the adapter in dir.
func SavedModules(dir string) ([]string, error) {
	raw, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	var c struct {
		Names []string `json:"modules_to_save"`
	}
	return c.Names, decodeHead(dir, raw, &c)
}

// BringsEmbeddings says whether the adapter in dir may hold an embedding or a head of the base.
func BringsEmbeddings(dir string) bool {
	if tensorName(dir) != TensorFile {
		return false
	}
	f, err := openTensors(dir)
	if err != nil {
		return false // opening the adapter says why
	}
	defer f.Close()
	return slices.ContainsFunc(f.Names(), func(n string) bool {
		return strings.HasPrefix(n, prefix) && !strings.Contains(n, ".layers.") && !strings.Contains(n, ".h.") &&
			strings.HasSuffix(n, ".weight")
	})
}
