package model

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/adapterfile"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/nn"
)

// overlay is the weights of a folder with the embedding and the head of an adapter's folder in place of its own. HF PEFT saves both beside
// an adapter whose model had its vocabulary resized, and loading the adapter writes them over the base's; so does this, and the base grows
// to as many rows.
//
// A module that the adapter trains itself (modules_to_save) keeps the base's rows, and has the adapter's where the base has none.
type overlay struct {
	safetensors.Source // the folder's
	adapter            *safetensors.Folder
	laid               map[string]laid // by the name in the folder
	names              []string
}

// laid is a tensor of the adapter that stands for one of the folder's.
type laid struct {
	key  string
	info safetensors.Info // as the folder would have it
	keep int              // values that stay the folder's
}

// Embeddings is the adapter's folder whose embedding and head the model was opened with, empty for its own.
func (m *Model) Embeddings() string { return m.task.Embeddings }

// EmbeddingsDiffer says whether the adapter that the task names brings an embedding or a head other than those of the folder dir.
func EmbeddingsDiffer(dir string, task Task) (bool, error) {
	cfg, fam, err := configOf(dir, task)
	if err != nil {
		return false, err
	}
	src, err := OpenWeights(dir)
	if err != nil {
		return false, err
	}
	o, err := lay(cfg, fam, src, task)
	if err != nil {
		src.Close()
		return false, fmt.Errorf("%s: %w", task.Embeddings, err)
	}
	defer o.Close()
	for name, l := range o.laid {
		info, ok := src.Info(name)
		if !ok || !slices.Equal(info.Shape, l.info.Shape) {
			return true, nil
		}
		if l.keep == info.Len() {
			continue
		}
		same, err := o.same(name)
		if err != nil || !same {
			return !same, err
		}
	}
	return false, nil
}

// same says whether a tensor of the shape of the folder's has its values.
func (o *overlay) same(name string) (bool, error) {
	const at = 1 << 16
	n := o.laid[name].info.Len()
	a, b := make([]float32, min(n, at)), make([]float32, min(n, at))
	for i := 0; i < n; i += at {
		k := min(at, n-i)
		if err := o.Source.ReadFloat32(name, a[:k], i); err != nil {
			return false, err
		}
		if err := o.ReadFloat32(name, b[:k], i); err != nil {
			return false, err
		}
		if !slices.Equal(a[:k], b[:k]) {
			return false, nil
		}
	}
	return true, nil
}

// lay finds what the adapter of the task has of the embedding and the head, and gives the configuration the vocabulary that they have.
func lay(cfg *Config, fam *family, src safetensors.Source, task Task) (*overlay, error) {
	adapter, err := adapterfile.Open(task.Embeddings, adapterfile.Tensors)
	if err != nil {
		return nil, err
	}
	o := &overlay{Source: src, adapter: adapter, laid: map[string]laid{}}
	if err := o.find(cfg, fam, strings.Split(task.Trained, ",")); err != nil {
		adapter.Close()
		return nil, err
	}
	o.names = slices.Clone(src.Names())
	for name := range o.laid {
		if !slices.Contains(o.names, name) {
			o.names = append(o.names, name)
		}
	}
	slices.Sort(o.names)
	return o, nil
}

// vocabulary are the module names of the embedding and of the language model's head; the second is empty for a classifier.
func vocabulary(cfg *Config, fam *family) (embedding, head string, width int, err error) {
	c := *cfg
	c.values = nil // others may read them
	w, err := fam.open(&c, &loader{err: errShapes, used: map[string]bool{}, stored: map[string]Stored{}})
	if err != nil {
		return "", "", 0, err
	}
	for _, s := range nn.Sites(w) {
		if s.Kind == nn.KindHead {
			if cfg.Task == "CAUSAL_LM" {
				head = s.Name
			}
		} else if m, ok := s.Op.(nn.Module); ok && embedding == "" {
			if b := m.Base(); b.Lookup && b.Vocab {
				embedding, width = s.Name, b.Cols
			}
		}
	}
	return embedding, head, width, nil
}

func (o *overlay) find(cfg *Config, fam *family, trained []string) error {
	embedding, head, width, err := vocabulary(cfg, fam)
	if err != nil {
		return err
	}
	rows, of := 0, ""
	for _, module := range []string{embedding, head} {
		if module == "" {
			continue
		}
		for _, leaf := range []string{".weight", ".bias"} {
			key, keep := o.tensor(module, leaf, slices.ContainsFunc(trained,
				func(n string) bool { return n != "" && (module == n || strings.HasSuffix(module, "."+n)) }))
			if key == "" {
				continue
			}
			info, _ := o.adapter.Info(key)
			if len(info.Shape) == 0 || leaf == ".weight" && (len(info.Shape) != 2 || info.Shape[1] != width) {
				return fmt.Errorf("tensor %q has the shape %v; the base model's %s has %d values a token", key, info.Shape, module, width)
			}
			if of != "" && info.Shape[0] != rows {
				return fmt.Errorf("tensor %q has %d rows, but %q has %d: embedding and head have one vocabulary", key,
					info.Shape[0], of, rows)
			}
			rows, of = info.Shape[0], key
			name := o.inFolder(module+leaf, fam)
			was, had := o.Source.Info(name)
			l := laid{key: key, info: safetensors.Info{DType: "F32", Shape: info.Shape}}
			if had && slices.Contains([]string{"F32", "F16", "BF16"}, was.DType) {
				l.info.DType = was.DType
			}
			if keep {
				l.keep = min(was.Len(), info.Len())
			}
			o.laid[name] = l
		}
	}
	if of == "" {
		return nil
	}
	if head != "" && cfg.Tied {
		if err := o.tie(o.inFolder(embedding+".weight", fam), o.inFolder(head+".weight", fam)); err != nil {
			return err
		}
	}
	if rows == cfg.Vocab {
		return nil
	}
	for _, module := range []string{embedding, head} { // what has a row a token must have them all
		if module == "" || module == head && cfg.Tied {
			continue
		}
		name := o.inFolder(module+".weight", fam)
		if _, ok := o.laid[name]; !ok {
			return fmt.Errorf("tensor %q has %d rows, and the base model has %d tokens, but the adapter has no %s: save it with "+
				"save_embedding_layers=True, "+
				"or use the resized base model", of, rows, cfg.Vocab, module+".weight")
		}
	}
	cfg.Vocab = rows
	cfg.raw = maps.Clone(cfg.raw)
	cfg.raw["vocab_size"], _ = json.Marshal(rows)
	return nil
}

// tensor finds the adapter's tensor of a base weight. keep says that the rows that the folder has stay: the tensor is that of a trained
// copy.
func (o *overlay) tensor(module, leaf string, trained bool) (key string, keep bool) {
	for _, part := range adapterfile.BaseParts {
		key := adapterfile.Prefix + module + part + leaf
		if _, ok := o.adapter.Info(key); ok {
			return key, part == "" && trained
		}
	}
	return "", false
}

// inFolder is the name of a parameter in the folder's files.
func (o *overlay) inFolder(param string, fam *family) string {
	if _, ok := o.Source.Info(param); !ok && fam.prefix != "" {
		if short := strings.TrimPrefix(param, fam.prefix); short != param {
			if _, ok := o.Source.Info(short); ok {
				return short
			}
		}
	}
	return param
}

// tie makes one tensor of the embedding's and the head's, of which the adapter may have either or both, and the folder the head's too.
func (o *overlay) tie(embedding, head string) error {
	e, hasE := o.laid[embedding]
	h, hasH := o.laid[head]
	delete(o.laid, head)
	switch {
	case hasE && hasH && e.keep == 0 && h.keep == 0:
		a, err := o.adapter.Float32(e.key)
		if err != nil {
			return err
		}
		b, err := o.adapter.Float32(h.key)
		if err != nil {
			return err
		}
		if !slices.Equal(a, b) {
			return fmt.Errorf("the base model's head is its embedding (tie_word_embeddings), but the adapter's tensors %q and %q differ: "+
				"give a base model whose config.json says tie_word_embeddings: false", e.key, h.key)
		}
	case hasH && (!hasE || e.keep > 0 && h.keep == 0): // an untrained one has the base's own rows for the new tokens
		h.info.DType = "F32"
		if was, ok := o.Source.Info(embedding); ok {
			if h.info.DType = was.DType; h.keep > 0 {
				h.keep = min(was.Len(), h.info.Len())
			}
		}
		e, hasE = h, true
	}
	if !hasE {
		return nil
	}
	o.laid[embedding] = e
	if _, ok := o.Source.Info(head); ok { // stored twice
		o.laid[head] = e
	}
	return nil
}

// Names implements safetensors.Source.
func (o *overlay) Names() []string { return o.names }

// Info implements safetensors.Source.
func (o *overlay) Info(name string) (safetensors.Info, bool) {
	if l, ok := o.laid[name]; ok {
		return l.info, true
	}
	return o.Source.Info(name)
}

// Float32 implements safetensors.Source.
func (o *overlay) Float32(name string) ([]float32, error) {
	l, ok := o.laid[name]
	if !ok {
		return o.Source.Float32(name)
	}
	x := make([]float32, l.info.Len())
	return x, o.ReadFloat32(name, x, 0)
}

// ReadFloat32 implements safetensors.Source.
func (o *overlay) ReadFloat32(name string, dst []float32, at int) error {
	l, ok := o.laid[name]
	if !ok {
		return o.Source.ReadFloat32(name, dst, at)
	}
	if at < l.keep {
		n := min(l.keep-at, len(dst))
		if err := o.Source.ReadFloat32(name, dst[:n], at); err != nil {
			return err
		}
		dst, at = dst[n:], at+n
	}
	if len(dst) == 0 {
		return nil
	}
	return o.adapter.ReadFloat32(l.key, dst, at)
}

// Bytes implements safetensors.Source.
func (o *overlay) Bytes(name string) ([]byte, error) {
	l, ok := o.laid[name]
	if !ok {
		return o.Source.Bytes(name)
	}
	x, err := o.Float32(name)
	if err != nil {
		return nil, err
	}
	return safetensors.Encode(l.info.DType, x)
}

// Close implements safetensors.Source.
func (o *overlay) Close() error {
	err := o.adapter.Close()
	if e := o.Source.Close(); err == nil {
		err = e
	}
	return err
}

// hash adds what the adapter has to a hash of the folder.
func (o *overlay) hash(h io.Writer) error {
	for _, name := range slices.Sorted(maps.Keys(o.laid)) {
		l := o.laid[name]
		fmt.Fprintf(h, "%s\x00%v\x00%d\x00", name, l.info.Shape, l.keep)
		raw, err := o.adapter.Bytes(l.key)
		if err != nil {
			return err
		}
		if _, err := h.Write(raw); err != nil {
			return err
		}
	}
	return nil
}
