package export

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/gguf"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/quant"
)

// ggufLora is the adapter as a GGUF file, beside the base.
var ggufLora = Format{
	Name:   "gguf_lora",
	Folder: "gguf-lora",
	Doc:    "the adapter as a GGUF file, with a Modelfile, which llama.cpp (--lora) and Ollama (ADAPTER) load over the base model's",
	Takes:  "LoRA and what is as good as a product of two matrices beside linear layers",
	When:   func(c *Config) bool { return c.GGUFLora },
	Refuse: func(a *peft.Adapter) error {
		if a.InvocationTokens() != nil {
			return nil
		}
		if err := a.Mergeable(); err != nil {
			return fmt.Errorf("%w: a GGUF adapter has products of two matrices alone", err)
		}
		return nil
	},
	Write: func(s *Source, c *Config, to string) error {
		if err := os.RemoveAll(to); err != nil { // of a run that ended here
			return err
		}
		if _, err := GGUFLora(s.Base, s.Folder, c.GGUFMaxRank, filepath.Join(to, ggufAdapterName)); err != nil {
			return err
		}
		ch, err := readChat(infer.TokenizerOf(s.Base, s.Folder), nil)
		if err != nil { // a folder whose tokenizer cannot be read is a model nevertheless
			ch = ggufChat{}
		}
		return WriteModelfile(filepath.Join(to, modelfileName), modelfileBase(s.Base), ggufAdapterName, ch)
	},
}

// GGUFLoraReport says what was written as a GGUF adapter.
type GGUFLoraReport struct {
	File         string  `json:"file"`
	Architecture string  `json:"architecture"`
	Bytes        int64   `json:"bytes"`
	Modules      int     `json:"modules"`
	Alpha        float64 `json:"alpha"`
	// Rank is the largest of a module.
	Rank int `json:"rank"`
	// Lost is the largest share of an update's norm that is not in the file, and Worst the module; 0 where the file is exact.
	Lost  float64 `json:"lost"`
	Worst string  `json:"worst,omitempty"`
}

// GGUFLora writes the adapter in a folder as a GGUF file that llama.cpp loads over the file of the base model in the folder dir.
// An update that is not a product of two matrices, see [peft.Adapter.Products], becomes one of a rank of at most maxRank, 0 for what loses
// nothing.
func GGUFLora(dir, adapter string, maxRank int, to string) (_ *GGUFLoraReport, err error) {
	defer quant.CatchRead(&err)
	m, err := infer.Load(dir, "float32@"+quant.Reread, adapter)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	c := &m.Base.Config
	if c.Task != "CAUSAL_LM" {
		return nil, fmt.Errorf("%s classifies: llama.cpp has no adapters with a head of classes", adapter)
	}
	if m.Base.Embeddings() != "" {
		return nil, fmt.Errorf("%s brings embeddings of its own: a GGUF adapter cannot hold them; write the merged model "+
			"(adaptflow gguf model)", adapter)
	}
	arch, err := c.GGUFArchitecture()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	params, err := m.Adapter.NewParams(1)
	if err != nil {
		return nil, err
	}
	defer params.Free()
	products, err := m.Adapter.Products(params, 0, m.Base.Tensor, maxRank)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: adaptflow gguf model --adapter writes the merged model", adapter, err)
	}
	if len(products) == 0 {
		return nil, fmt.Errorf("%s changes nothing", adapter)
	}
	r := &GGUFLoraReport{File: to, Architecture: arch, Modules: len(products)}
	r.Alpha = products[0].Scale * float64(products[0].Rank)
	var meta gguf.Meta
	meta.Set("general.architecture", arch)
	meta.Set("general.type", "adapter")
	meta.Set("adapter.type", "lora")
	meta.Set("general.name", ggufName(adapter))
	meta.Set("general.base_model.count", uint32(1))
	meta.Set("general.base_model.0.name", ggufName(dir))
	meta.Set("adapter.lora.alpha", float32(r.Alpha))
	if t := m.Adapter.InvocationTokens(); len(t) > 0 {
		ids := make([]uint32, len(t))
		for i, id := range t {
			ids[i] = uint32(id)
		}
		meta.Set("adapter.alora.invocation_tokens", ids)
	}
	meta.Set("general.file_type", uint32(0))
	meta.Set("general.quantization_version", uint32(2))
	var ts []gguf.Tensor
	for i := range products {
		p := &products[i]
		if r.Rank = max(r.Rank, p.Rank); p.Lost > r.Lost {
			r.Lost, r.Worst = p.Lost, p.Module
		}
		pair, err := ggufPair(c, p, r.Alpha)
		if err != nil {
			return nil, err
		}
		ts = append(ts, pair...)
	}
	if err := gguf.Write(to, meta, ts); err != nil {
		return nil, err
	}
	st, err := os.Stat(to)
	if err != nil {
		return nil, err
	}
	r.Bytes = st.Size()
	return r, nil
}

// ggufPair are the two tensors of a product. The file has one alpha, by which llama.cpp multiplies after it has divided by the rank: what
// else a module's scale has goes into B. Rows of B are in the order of the weight's. An embedding's A is transposed: llama.cpp
// looks its rows up.
func ggufPair(c *model.Config, p *peft.Product, alpha float64) ([]gguf.Tensor, error) {
	to, err := c.GGUFTensor(p.Module + ".weight")
	if err != nil {
		return nil, err
	}
	factor := float32(p.Scale * float64(p.Rank) / alpha)
	b := make([]float32, len(p.B))
	for r := range p.Out {
		from := r
		if to.Rows != nil {
			from = to.Rows(r)
		}
		for k := range p.Rank {
			b[r*p.Rank+k] = p.B[from*p.Rank+k] * factor
		}
	}
	a := gguf.Values(to.Name+".lora_a", ggml.F32, p.A, p.Rank, p.In)
	if p.Lookup {
		t := make([]float32, len(p.A))
		for k := range p.Rank {
			for i := range p.In {
				t[i*p.Rank+k] = p.A[k*p.In+i]
			}
		}
		a = gguf.Values(to.Name+".lora_a", ggml.F32, t, p.In, p.Rank)
	}
	return []gguf.Tensor{a, gguf.Values(to.Name+".lora_b", ggml.F32, b, p.Out, p.Rank)}, nil
}

// modelfileBase is what a Modelfile calls the base model: a GGUF file, or the folder, which Ollama reads for some families.
func modelfileBase(dir string) string {
	if file := model.GGUFOf(dir); file != "" {
		return file
	}
	if abs, err := filepath.Abs(dir); err == nil && !strings.Contains(abs, "\n") {
		return abs
	}
	return dir
}
