package model

import (
	"fmt"
	"strconv"
	"strings"
)

// ggufForm is how GGUF files, llama.cpp's, have a family. It serves both ways: what is read by it is written by it.
// Source: llama.cpp's conversion/ and src/models/.
type ggufForm struct {
	arch  string // general.architecture
	names []ggufName
	keys  []ggufKey
	// head says that llama.cpp wants the head in the file where it is the embedding, too.
	head bool
	// config adds to config.json what the keys do not say by themselves, meta what config.json says to the metadata.
	config func(r *ggufReader)
	meta   func(w *ggufWriter)
}

// ggufName is a module under its two names, in which N stands for the layer. Its parameters have the suffixes .weight and .bias in both.
type ggufName struct {
	hf, gguf string
	// rows gives the row of the Hugging Face tensor that the file has as row r; nil where they are in the same order.
	rows func(h ggufHeads, r int) int
	add  float32 // that the file's values are larger: 1 for the norms of Gemma, which multiply by 1+w
	conv bool    // the Hugging Face folder has [in, out], the file [out, in]
	part int     // 1 to 3 of query, key and value, which files may have as one tensor, blk.N.attn_qkv
}

// ggufHeads are the heads of a file's attention.
type ggufHeads struct{ heads, kv, dim int }

// fused are the rows of attn_qkv that are query, key or value.
func (h ggufHeads) fused(part int) (from, to int) {
	q, kv := h.heads*h.dim, h.kv*h.dim
	return [...]int{0, q, q + kv}[part-1], [...]int{q, q + kv, q + 2*kv}[part-1]
}

// interleaved is the order of a head's rows that llama.cpp's rotary embedding of Llama takes: pairs lie side by side, where Hugging Face's
// has the halves.
func interleaved(h ggufHeads, r int) int {
	i := r % h.dim
	return r - i + i%2*(h.dim/2) + i/2
}

// byPart is the order of GPT-NeoX's projection in a file: all queries, all keys, all values, where Hugging Face's has them head by head.
func byPart(h ggufHeads, r int) int {
	part, i := r/(h.heads*h.dim), r%(h.heads*h.dim)
	return i/h.dim*3*h.dim + part*h.dim + i%h.dim
}

// GGUFTensor is a parameter of a family in a GGUF file.
type GGUFTensor struct {
	Name  string // in the file: "blk.0.attn_q.weight"
	Param string // of Hugging Face: "model.layers.0.self_attn.q_proj.weight"
	// Rows gives the row of the Hugging Face tensor, or element of a bias, that the file has as row r; nil where the order is the same.
	// The rows of a LoRA pair's B follow the weight's.
	Rows func(r int) int
	// Add is how much larger the file's values are.
	Add float32
	// Transposed says that the Hugging Face tensor is [in, out] (Conv1D) and the file's [out, in]. A LoRA pair is not transposed.
	Transposed bool
}

// cutParameter takes a parameter's name apart: the module with N for the layer, the layer, −1 for none, and the suffix.
func cutParameter(name string) (module string, layer int, suffix string) {
	layer = -1
	for _, s := range []string{".weight", ".bias"} {
		if strings.HasSuffix(name, s) {
			name, suffix = strings.TrimSuffix(name, s), s
		}
	}
	parts := strings.Split(name, ".")
	for i, p := range parts {
		if n, err := strconv.Atoi(p); err == nil && n >= 0 && strconv.Itoa(n) == p && layer < 0 {
			parts[i], layer = "N", n
		}
	}
	return strings.Join(parts, "."), layer, suffix
}

func joinParameter(module string, layer int, suffix string) string {
	if layer >= 0 {
		module = strings.Replace(module, ".N.", "."+strconv.Itoa(layer)+".", 1)
	}
	return module + suffix
}

// tensor makes the entry of a module's parameter.
func (n *ggufName) tensor(h ggufHeads, layer int, suffix string) GGUFTensor {
	t := GGUFTensor{Name: joinParameter(n.gguf, layer, suffix), Param: joinParameter(n.hf, layer, suffix), Add: n.add,
		Transposed: n.conv && suffix == ".weight"}
	if n.rows != nil {
		t.Rows = func(r int) int { return n.rows(h, r) }
	}
	return t
}

// find finds a module by one of its names.
func (f *ggufForm) find(module string, name func(*ggufName) string) *ggufName {
	for i := range f.names {
		if name(&f.names[i]) == module {
			return &f.names[i]
		}
	}
	return nil
}

// ggufOf is the form of a configuration's family.
func ggufOf(architecture string) (*ggufForm, error) {
	for i := range families {
		if families[i].architecture != architecture {
			continue
		}
		if families[i].gguf == nil {
			break
		}
		return families[i].gguf, nil
	}
	return nil, fmt.Errorf("%s has no architecture in GGUF; those that have one are %s", architecture, strings.Join(ggufFamilies(), ", "))
}

// ggufFamilies lists the architectures of Hugging Face that GGUF has.
func ggufFamilies() (names []string) {
	for _, f := range families {
		if f.gguf != nil {
			names = append(names, f.architecture)
		}
	}
	return names
}

// GGUFArchitecture is general.architecture of a GGUF file of the model; an error where llama.cpp does not have the family.
func (c *Config) GGUFArchitecture() (string, error) {
	f, err := ggufOf(c.Architecture)
	if err != nil {
		return "", err
	}
	return f.arch, nil
}

// GGUFTied says whether the head of a GGUF file of the model is its embedding.
func (c *Config) GGUFTied() bool {
	f, err := ggufOf(c.Architecture)
	return c.Tied && err == nil && !f.head
}

// GGUFTensor says where a GGUF file has a parameter, such as "model.layers.0.self_attn.q_proj.weight", and how.
func (c *Config) GGUFTensor(param string) (GGUFTensor, error) {
	f, err := ggufOf(c.Architecture)
	if err != nil {
		return GGUFTensor{}, err
	}
	module, layer, suffix := cutParameter(param)
	n := f.find(module, func(n *ggufName) string { return n.hf })
	if n == nil || suffix == "" || layer >= c.Layers {
		return GGUFTensor{}, fmt.Errorf("%s has no place in a GGUF file of the architecture %s", param, f.arch)
	}
	return n.tensor(ggufHeads{c.Heads, c.KVHeads, c.HeadDim}, layer, suffix), nil
}

// GGUFParameter is [Config.GGUFTensor] by the name in the file.
func (c *Config) GGUFParameter(name string) (GGUFTensor, error) {
	f, err := ggufOf(c.Architecture)
	if err != nil {
		return GGUFTensor{}, err
	}
	module, layer, suffix := cutParameter(name)
	n := f.find(module, func(n *ggufName) string { return n.gguf })
	if n == nil || suffix == "" || layer >= c.Layers {
		return GGUFTensor{}, fmt.Errorf("the architecture %s has no tensor %q", f.arch, name)
	}
	return n.tensor(ggufHeads{c.Heads, c.KVHeads, c.HeadDim}, layer, suffix), nil
}
