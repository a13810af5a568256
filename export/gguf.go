package export

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/gguf"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/quant"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/tokenize/chat"
)

// The names of the files in a folder of GGUF.
const (
	ggufModelName   = "model.gguf"
	ggufAdapterName = "adapter.gguf"
	modelfileName   = "Modelfile"
)

// ggufs is the base with the adapter in its weights, as llama.cpp and Ollama run it.
var ggufs = Format{
	Name:   "gguf",
	Folder: "gguf",
	Doc:    "the merged model as a GGUF file, with a Modelfile, which llama.cpp and Ollama run",
	Takes:  "adapters of methods that change weights by what can be added to them, over models of architectures that llama.cpp has",
	When:   func(c *Config) bool { return c.GGUF != "" },
	Refuse: (*peft.Adapter).Mergeable,
	Write: func(s *Source, c *Config, to string) error {
		if err := os.RemoveAll(to); err != nil { // of a run that ended here
			return err
		}
		r, err := GGUFModel(s.Base, s.Folder, c.GGUF, filepath.Join(to, ggufModelName))
		if err != nil {
			return err
		}
		return WriteModelfile(filepath.Join(to, modelfileName), ggufModelName, "", r.chat)
	},
}

// GGUFFile is the model that a recipe's gguf writes in an output folder.
func GGUFFile(output string) string { return filepath.Join(output, ggufs.Folder, ggufModelName) }

// GGUFReport says what was written as a GGUF file.
type GGUFReport struct {
	File         string `json:"file"`
	Architecture string `json:"architecture"`
	Quant        string `json:"quant"`
	Bytes        int64  `json:"bytes"`
	// Types are how many tensors, and values, are stored in each type.
	Types []GGUFCount `json:"types"`
	// Fallbacks are the matrices that another type took the place of, as their rows are not whole blocks.
	Fallbacks int `json:"fallbacks"`
	// Perplexity is that of the file beside the unquantised model's, where it was measured: see [MeasureGGUF].
	Perplexity *GGUFPerplexity `json:"perplexity,omitempty"`

	chat ggufChat
}

// GGUFCount counts the tensors of a type.
type GGUFCount struct {
	Type    string `json:"type"`
	Tensors int    `json:"tensors"`
	Values  int64  `json:"values"`
}

// GGUFModel writes the model in the folder dir, with the adapter of a folder merged into its weights where adapter is not empty, as a GGUF
// file: quant is one of [GGUFQuants]. Tensors are written one after another; beside them one is in memory as a whole.
func GGUFModel(dir, adapter, quantisation, to string) (_ *GGUFReport, err error) {
	q, err := ggufQuantOf(quantisation)
	if err != nil {
		return nil, err
	}
	defer quant.CatchRead(&err)
	m, err := infer.Load(dir, "float32@"+quant.Reread, adapter)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	var sizes map[string]int
	var load func(string) ([]float32, error)
	if adapter != "" {
		params, err := m.Adapter.NewParams(1)
		if err != nil {
			return nil, err
		}
		defer params.Free()
		changed, err := m.Adapter.MergeStream(params, 0, m.Base.Tensor, 1)
		if err != nil {
			return nil, err
		}
		sizes, load = changed.Sizes(), changed.Tensor
		if stop, err := m.Stops(); err == nil {
			m.Base.EndAt(stop)
		}
	}
	meta, extra, ch, err := ggufMeta(m, infer.TokenizerOf(dir, adapter), q)
	if err != nil {
		return nil, err
	}
	_, untied := sizes["lm_head.weight"]
	tied := m.Base.Config.GGUFTied() && !untied
	r := &GGUFReport{File: to, Quant: q.Name, chat: ch}
	r.Architecture, _, _ = meta.String("general.architecture")
	counts := map[ggml.Type]*GGUFCount{}
	w, err := m.Base.GGUFWeights(sizes, load, extra, func(name string, shape []int) ggml.Type {
		t, fell := q.typeOf(name, shape, m.Base.Config.Layers, tied)
		if fell {
			r.Fallbacks++
		}
		c := counts[t]
		if c == nil {
			c = &GGUFCount{Type: t.String()}
			counts[t] = c
		}
		c.Tensors++
		c.Values += int64(gguf.Info{Shape: shape}.Len())
		return t
	})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	if err := gguf.Write(to, meta, w.Tensors); err != nil {
		return nil, err
	}
	for _, c := range counts {
		r.Types = append(r.Types, *c)
	}
	sort.Slice(r.Types, func(i, j int) bool { return r.Types[i].Values > r.Types[j].Values })
	st, err := os.Stat(to)
	if err != nil {
		return nil, err
	}
	r.Bytes = st.Size()
	return r, nil
}

// ggufMeta is the metadata of a model's file, the tensors that it asks for, and what a Modelfile says of its chats.
func ggufMeta(m *infer.Model, tokenizer string, q *ggufQuant) (gguf.Meta, []model.GGUFExtra, ggufChat, error) {
	var ch ggufChat
	shape, extra, err := m.Base.Config.GGUFMeta()
	if err != nil {
		return nil, nil, ch, fmt.Errorf("%s: %w", m.Dir, err)
	}
	var meta gguf.Meta
	arch, _, _ := shape.String("general.architecture")
	meta.Set("general.architecture", arch)
	meta.Set("general.type", "model")
	meta.Set("general.name", ggufName(m.Dir))
	meta.Set("general.file_type", q.FileType)
	meta.Set("general.quantization_version", uint32(2))
	for _, kv := range shape {
		meta.Set(kv.Key, kv.Value)
	}
	tok, err := tokenize.GGUFMeta(tokenizer, m.Base.Config.Vocab, m.Base.Config.EOS)
	if err != nil {
		return nil, nil, ch, err
	}
	meta = append(meta, tok...)
	if ch, err = readChat(tokenizer, m.Base.Config.EOS); err != nil {
		return nil, nil, ch, err
	}
	names := make([]string, 0, len(ch.templates))
	for name := range ch.templates {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		key := "tokenizer.chat_template"
		if name != "default" {
			key += "." + name
		}
		meta.Set(key, ch.templates[name].Source)
	}
	return meta, extra, ch, nil
}

// ggufName is what a file says it is called.
func ggufName(dir string) string {
	if file := model.GGUFOf(dir); file != "" {
		dir = file
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		abs = dir
	}
	return filepath.Base(abs)
}

// ggufChat is what a Modelfile says of chats.
type ggufChat struct {
	templates chat.Set
	stops     []string
}

// readChat reads the chat templates of a tokenizer's folder and the texts of the tokens that end an answer.
func readChat(dir string, ends []int32) (c ggufChat, err error) {
	if c.templates, err = chat.Load(dir); err != nil {
		return c, err
	}
	tk, err := tokenize.Load(dir)
	if err != nil {
		return c, err
	}
	ids, ok := tk.(interface{ IDToToken(int32) (string, bool) })
	if !ok {
		return c, errors.New("the tokenizer does not say its tokens")
	}
	for _, id := range ends {
		if t, ok := ids.IDToToken(id); ok {
			c.stops = append(c.stops, t)
		}
	}
	return c, nil
}
