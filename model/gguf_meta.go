package model

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/gguf"
)

// ggufKind is the type of a key of the metadata.
type ggufKind int

const (
	ggufU32 ggufKind = iota
	ggufF32
)

// ggufKey is a key of the metadata, after the architecture's name, that says what a key of config.json says.
type ggufKey struct {
	key, hf string
	kind    ggufKind
	need    bool // llama.cpp has no default for it
}

var errGPT2Split = errors.New("it has queries, keys and values apart (blk.0.attn_q.weight); of GPT-2 they are read as one, attn_qkv")

// ggufReader makes config.json of a file's metadata.
type ggufReader struct {
	file         *gguf.File
	meta         gguf.Meta
	arch         string
	architecture string // of Hugging Face
	out          map[string]any
	err          error
}

func (r *ggufReader) fail(err error) { r.err = cmp.Or(r.err, err) }

func (r *ggufReader) has(tensor string) bool { _, ok := r.file.Tensor(tensor); return ok }

// integer is a key of the architecture.
func (r *ggufReader) integer(key string) (int, bool) {
	n, ok, err := r.meta.Int(r.arch + "." + key)
	r.fail(err)
	return n, ok
}

// number is a key of the architecture, as the shortest number that its float32 is.
func (r *ggufReader) number(key string) (float64, bool) {
	v, ok, err := r.meta.Float(r.arch + "." + key)
	r.fail(err)
	return shortest(v), ok
}

// shortest is the number with the fewest digits that has the same float32: what config.json said before it was converted.
func shortest(v float64) float64 {
	s, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', -1, 32), 64)
	if err != nil {
		return v
	}
	return s
}

// heads are those of a file.
func (r *ggufReader) heads() ggufHeads {
	h := ggufHeads{}
	h.heads, _ = r.integer("attention.head_count")
	h.kv = h.heads
	if n, ok := r.integer("attention.head_count_kv"); ok {
		h.kv = n
	}
	hidden, _ := r.integer("embedding_length")
	switch n, ok := r.integer("attention.key_length"); {
	case ok:
		h.dim = n
	case h.heads > 0:
		h.dim = hidden / h.heads
	}
	if n, ok := r.integer("attention.value_length"); ok && n != h.dim {
		r.fail(fmt.Errorf("%s.attention.value_length is %d and the keys' length %d: heads of two sizes are not supported",
			r.arch, n, h.dim))
	}
	if r.err == nil && (h.heads <= 0 || h.kv <= 0 || h.dim <= 0 || h.heads > 1<<20 || h.kv > h.heads || h.dim > 1<<20) {
		r.fail(fmt.Errorf("it has %d attention heads, %d key/value heads and heads of %d elements: the metadata is damaged",
			h.heads, h.kv, h.dim))
	}
	return h
}

// decoder adds what the families with rotary positions share, with llama.cpp's defaults where the file is silent.
func (r *ggufReader) decoder() {
	h := r.heads()
	r.out["num_key_value_heads"] = h.kv
	if _, ok := r.integer("attention.key_length"); ok {
		r.out["head_dim"] = h.dim
	}
	theta := 10000.0
	if v, ok := r.number("rope.freq_base"); ok {
		theta = v
	}
	r.out["rope_theta"] = theta
	turn := h.dim
	if n, ok := r.integer("rope.dimension_count"); ok && n != h.dim {
		r.out["partial_rotary_factor"] = float64(n) / float64(max(h.dim, 1))
		turn = n
	}
	r.scaling(theta, turn)
}

// gemma adds what the second and third Gemma have: llama.cpp knows the largest, of so many layers, by their number.
func (r *ggufReader) gemma(layers int) {
	h := r.heads()
	r.out["hidden_activation"], r.out["query_pre_attn_scalar"] = gemmaAct, h.dim
	hidden, _ := r.integer("embedding_length")
	if n, _ := r.integer("block_count"); n == layers && h.heads > 0 {
		r.out["query_pre_attn_scalar"] = hidden / h.heads
	}
}

// windows adds the sliding window, with its default, and which layers slide, where one in every does not.
func (r *ggufReader) windows(window, every int) {
	if n, ok := r.integer("attention.sliding_window"); ok {
		window = n
	}
	layers, _ := r.integer("block_count")
	pattern := r.meta.Value(r.arch + ".attention.sliding_window_pattern")
	slides := func(i int) bool { return (i+1)%every != 0 }
	switch p := pattern.(type) {
	case nil:
	case []bool:
		if len(p) < layers {
			r.fail(fmt.Errorf("%s.attention.sliding_window_pattern has %d entries for %d layers", r.arch, len(p), layers))
			return
		}
		slides = func(i int) bool { return p[i] }
	default:
		n, _ := r.integer("attention.sliding_window_pattern")
		if n <= 0 && r.err == nil {
			r.fail(fmt.Errorf("%s.attention.sliding_window_pattern is %v", r.arch, pattern))
		}
		every = max(n, 1)
	}
	if window <= 0 { // none slides
		slides, window = func(int) bool { return false }, 4096
	}
	if layers > mostLayers {
		r.fail(fmt.Errorf("%s.block_count is %d", r.arch, layers))
		return
	}
	types := make([]string, layers)
	for i := range types {
		types[i] = "full_attention"
		if slides(i) {
			types[i] = "sliding_attention"
		}
	}
	r.out["sliding_window"], r.out["layer_types"] = window, types
}

// ggufIDs are the keys of special tokens.
var ggufIDs = []struct{ key, hf string }{{"bos", "bos_token_id"}, {"eos", "eos_token_id"}, {"padding", "pad_token_id"}}

// GGUFConfig makes the text of config.json of a GGUF file's metadata and tensors. A file that is not a language model of a family of this
// package is an error.
func GGUFConfig(f *gguf.File) ([]byte, error) {
	fam, r, err := readerOf(f)
	if err != nil {
		return nil, err
	}
	r.out["model_type"], r.architecture = fam.modelType, fam.architecture
	for _, k := range fam.gguf.keys {
		switch n, ok := r.meta.Value(r.arch+"."+k.key), r.meta.Has(r.arch+"."+k.key); {
		case !ok && k.need:
			r.fail(fmt.Errorf("its metadata has no %s.%s", r.arch, k.key))
		case k.kind == ggufF32:
			r.out[k.hf], _ = r.number(k.key)
		case ok:
			if _, lists := n.([]int32); lists {
				r.fail(fmt.Errorf("%s.%s differs from layer to layer, which is not supported", r.arch, k.key))
			}
			r.out[k.hf], _ = r.integer(k.key)
		}
	}
	embed, ok := f.Tensor("token_embd.weight")
	if !ok || len(embed.Shape) != 2 {
		r.fail(errors.New("it has no matrix token_embd.weight: it is not a language model"))
	} else {
		r.out["vocab_size"] = embed.Shape[0]
	}
	r.out["tie_word_embeddings"] = !r.has("output.weight")
	for _, id := range ggufIDs {
		if n, ok, err := r.meta.Int("tokenizer.ggml." + id.key + "_token_id"); ok || err != nil {
			r.fail(err)
			r.out[id.hf] = n
		}
	}
	r.out["torch_dtype"] = ggufDType(f)
	if r.err == nil {
		fam.gguf.config(r)
	}
	if r.err != nil {
		return nil, r.err
	}
	r.out["architectures"] = []string{r.architecture}
	if i := slices.IndexFunc(families, func(x family) bool { return x.architecture == r.architecture }); i >= 0 {
		r.out["model_type"] = families[i].modelType
	}
	raw, err := json.MarshalIndent(r.out, "", "  ")
	return append(raw, '\n'), err
}

// readerOf finds the family of a file.
func readerOf(f *gguf.File) (*family, *ggufReader, error) {
	kind, _, err := f.Meta.String("general.type")
	if err != nil {
		return nil, nil, err
	}
	if kind != "" && kind != "model" {
		return nil, nil, fmt.Errorf("it is of the general.type %q, not a model", kind)
	}
	arch, ok, err := f.Meta.String("general.architecture")
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return nil, nil, errors.New("its metadata has no general.architecture")
	}
	var have []string
	for i := range families {
		g := families[i].gguf
		if g != nil && g.arch == arch {
			return &families[i], &ggufReader{file: f, meta: f.Meta, arch: arch, out: map[string]any{}}, nil
		}
		if g != nil && !slices.Contains(have, g.arch) {
			have = append(have, g.arch)
		}
	}
	slices.Sort(have)
	return nil, nil, fmt.Errorf("its architecture %q is not supported; supported are %s", arch, strings.Join(have, ", "))
}

// ggufDType is torch's name of the widest storage that matrices of a file have, float32 where they are quantised.
func ggufDType(f *gguf.File) string {
	have := map[ggml.Type]bool{}
	for _, n := range f.Names() {
		if i, _ := f.Tensor(n); len(i.Shape) > 1 {
			have[i.Type] = true
		}
	}
	switch {
	case len(have) == 1 && have[ggml.BF16]:
		return "bfloat16"
	case len(have) == 1 && have[ggml.F16]:
		return "float16"
	}
	return "float32"
}

// ggufWriter makes the metadata of a configuration that a family has read.
type ggufWriter struct {
	c    *Config
	arch string
	meta gguf.Meta
	more []GGUFExtra
	err  error
}

// GGUFExtra is a float32 tensor of one dimension that a GGUF file has and a Hugging Face folder has not: what rotary frequencies are
// divided by.
type GGUFExtra struct {
	Name   string
	Values []float32
}

func (w *ggufWriter) set(key string, v any) { w.meta.Set(w.arch+"."+key, v) }

// value is what a key of config.json says, or means where it is absent; nil where the family does not read it.
func (w *ggufWriter) value(key string) any { return w.c.values[key] }

func (w *ggufWriter) float(key string) float64 {
	switch v := w.value(key).(type) {
	case float64:
		return v
	case int:
		return float64(v)
	}
	return 0
}

func (w *ggufWriter) cannot(format string, a ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("llama.cpp's %s cannot have "+format, append([]any{w.arch}, a...)...)
	}
}

// refuse fails where a key has another value than the one that llama.cpp's architecture implies.
func (w *ggufWriter) refuse(key string, only any) {
	if v := w.value(key); v != nil && v != only {
		w.cannot("%s: %v", key, v)
	}
}

// act fails where the activation is none of those that the architecture has.
func (w *ggufWriter) act(key string, names ...string) {
	if v, ok := w.value(key).(string); ok && !slices.Contains(names, v) {
		w.cannot("the activation %q", v)
	}
}

// decoder adds what the families with rotary positions share.
func (w *ggufWriter) decoder(act string) {
	c := w.c
	names := map[string][]string{"silu": {"silu", "swish"}, "gelu": {"gelu", "gelu_new", "gelu_pytorch_tanh"}}[act]
	if names == nil {
		names = []string{"gelu_new", "gelu_pytorch_tanh"}
	}
	w.act("hidden_act", names...)
	w.act("hidden_activation", names...)
	w.set("attention.head_count_kv", uint32(c.KVHeads))
	if c.HeadDim*c.Heads != c.Hidden || w.value("head_dim") != nil && c.HeadDim > 0 {
		w.set("attention.key_length", uint32(c.HeadDim))
		w.set("attention.value_length", uint32(c.HeadDim))
	}
	w.set("rope.dimension_count", uint32(c.rope.dim))
	w.set("rope.freq_base", float32(c.rope.theta))
	if w.arch == "llama" && c.rope.dim != c.HeadDim {
		w.cannot("heads of %d elements of which %d turn", c.HeadDim, c.rope.dim)
	}
	w.scaling()
}

// window adds a sliding window, where there is one.
func (w *ggufWriter) window(key string) {
	if n, ok := w.value(key).(int); ok && n > 0 {
		w.set("attention.sliding_window", uint32(n))
	} else if w.arch == "phi3" {
		w.set("attention.sliding_window", uint32(0)) // llama.cpp's sign of Phi-4
	}
}

// gemma adds what the second and third Gemma have: the model of so many layers scales scores otherwise, and one layer in every does not
// slide.
func (w *ggufWriter) gemma(layers, every int) {
	c := w.c
	scalar := float64(c.HeadDim)
	if c.Layers == layers {
		scalar = float64(c.Hidden / c.Heads)
	}
	if v := w.float("query_pre_attn_scalar"); v != 0 && v != scalar {
		w.cannot("query_pre_attn_scalar %g: it is %g for this model there", v, scalar)
	}
	w.window("sliding_window")
	var types []string
	if ok, err := c.read("layer_types", &types); err != nil || !ok {
		rule := every
		for _, key := range []string{"sliding_window_pattern", "_sliding_window_pattern"} {
			if n, ok := w.value(key).(int); ok && n > 0 {
				rule = n
			}
		}
		types = make([]string, c.Layers)
		for i := range types {
			if types[i] = "sliding_attention"; (i+1)%rule == 0 {
				types[i] = "full_attention"
			}
		}
	}
	slides, usual := make([]bool, len(types)), true
	for i, t := range types {
		slides[i] = t == "sliding_attention"
		usual = usual && slides[i] == ((i+1)%every != 0)
	}
	if !usual {
		w.set("attention.sliding_window_pattern", slides)
	}
}

// GGUFMeta is what the metadata of a GGUF file says of the model's shape, and the tensors that it has beside the model's own. What
// llama.cpp's architecture cannot be is an error.
func (c *Config) GGUFMeta() (gguf.Meta, []GGUFExtra, error) {
	f, err := ggufOf(c.Architecture)
	if err != nil {
		return nil, nil, err
	}
	w := &ggufWriter{c: c, arch: f.arch}
	w.meta.Set("general.architecture", f.arch)
	for _, k := range f.keys {
		switch v := w.value(k.hf).(type) {
		case int:
			if v < 0 || v > math.MaxUint32 {
				return nil, nil, fmt.Errorf("config.json: %s is %d", k.hf, v)
			}
			w.set(k.key, uint32(v))
		case float64:
			w.set(k.key, float32(v))
		default:
			return nil, nil, fmt.Errorf("config.json: %s is not known for %s", k.hf, c.Architecture)
		}
	}
	w.set("vocab_size", uint32(c.Vocab))
	f.meta(w)
	return w.meta, w.more, w.err
}
