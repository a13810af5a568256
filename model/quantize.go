package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/quant"
)

// Quantization says how SaveQuantized quantises.
type Quantization struct {
	Type   string // nf4, fp4, or int8 for LLM.int8
	Double bool   // 4-bit: the scales too
}

// QuantizationTypes are the types that SaveQuantized knows.
var QuantizationTypes = []string{"nf4", "fp4", "int8"}

// SaveQuantized writes the model's folder to dst with the projections of its blocks as codes, as transformers' save_pretrained does of a
// model loaded with BitsAndBytesConfig(load_in_4bit=True) or load_in_8bit=True: embeddings, norms, biases and the head stay as they are.
// One tensor at a time is in memory, and the scales of all. config.json is written last.
func (m *Model) SaveQuantized(dst string, q Quantization) error {
	if !slices.Contains(QuantizationTypes, q.Type) {
		return fmt.Errorf("quantisation type %q is unknown; known are %s", q.Type, strings.Join(QuantizationTypes, ", "))
	}
	if _, ok := m.Config.raw["quantization_config"]; ok {
		return fmt.Errorf("%s is quantised already", m.dir)
	}
	src, err := m.source()
	if err != nil {
		return err
	}
	defer src.Close()
	module := map[string]Stored{} // by the name in the file
	for _, s := range nn.Sites(m) {
		st, ok := m.stored[s.Name+".weight"]
		if s.Kind != nn.KindLinear || !ok {
			continue
		}
		if st.Transposed && q.Type != "int8" {
			return fmt.Errorf("%s is stored as [in, out] (Conv1D), of which bitsandbytes has no 4-bit checkpoint; train on it with "+
				"load_in_4bit instead", st.Name)
		}
		module[st.Name] = st
	}
	var ts []safetensors.Tensor
	for _, n := range src.Names() {
		st, ok := module[n]
		if !ok {
			ts = append(ts, safetensors.Copy(src, n))
			continue
		}
		parts, err := quantized(src, st, q)
		if err != nil {
			return err
		}
		ts = append(ts, parts...)
	}
	if err := storage.MkdirShared(dst); err != nil {
		return err
	}
	if err := writeWeights(dst, ts); err != nil {
		return err
	}
	config := maps.Clone(m.Config.raw)
	if err := m.copyRest(dst, config); err != nil {
		return err
	}
	quantType := q.Type
	if q.Type == "int8" {
		quantType, q.Double = "fp4", false // BitsAndBytesConfig's defaults, which int8 does not read
	}
	if config["quantization_config"], err = json.Marshal(map[string]any{"quant_method": "bitsandbytes", "load_in_4bit": q.Type != "int8",
		"load_in_8bit":  q.Type == "int8",
		"_load_in_4bit": q.Type != "int8", "_load_in_8bit": q.Type == "int8", "bnb_4bit_quant_type": quantType,
		"bnb_4bit_use_double_quant": q.Double,
		"bnb_4bit_compute_dtype":    "float32", "bnb_4bit_quant_storage": "uint8", "llm_int8_enable_fp32_cpu_offload": false,
		"llm_int8_has_fp16_weight": false,
		"llm_int8_skip_modules":    nil, "llm_int8_threshold": json.RawMessage("6.0")}); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	return storage.WriteShared(filepath.Join(dst, "config.json"), append(raw, '\n'))
}

// quantized are the tensors of a matrix in the checkpoint. The matrix is read twice: now for its scales, and for its codes when they are
// written.
func quantized(src safetensors.Source, st Stored, q Quantization) ([]safetensors.Tensor, error) {
	info, _ := src.Info(st.Name)
	out, in := info.Shape[0], info.Shape[1]
	rs, cs := in, 1
	if st.Transposed {
		out, in = in, out
		rs, cs = 1, out
	}
	read := func() ([]float32, error) {
		x, err := src.Float32(st.Name)
		if err != nil {
			return nil, err
		}
		return quant.RowMajor(out, in, x, rs, cs), nil
	}
	x, err := read()
	if err != nil {
		return nil, err
	}
	if q.Type == "int8" {
		return int8Tensors(st.Name, quant.ScalesInt8(x, out, in), read), nil
	}
	code := map[string]*quant.Code4{"nf4": quant.NF4, "fp4": quant.FP4}[q.Type]
	return codeTensors(st.Name, quant.Scales4(code, x, out, in, quant.BlockSize, q.Double), dtypeOf(info.DType), read)
}

// dtypeOf is torch's name of a safetensors dtype.
func dtypeOf(name string) string {
	for torch, n := range dtypeNames {
		if n == name {
			return torch
		}
	}
	return "float32"
}

// codeTensors are the tensors of a quantised matrix in a bitsandbytes checkpoint. b has the scales; the codes are made of what read
// returns.
func codeTensors(name string, b *quant.Bits4, dtype string, read func() ([]float32, error)) ([]safetensors.Tensor, error) {
	s := quantState{QuantType: b.Code.Name, BlockSize: b.BlockSize, DType: dtype, Shape: []int{b.Out, b.In}}
	bytes := func(suffix string, x []uint8, shape ...int) safetensors.Tensor {
		return safetensors.Tensor{Name: name + suffix, DType: "U8", Shape: shape, Raw: x}
	}
	packed := bytes("", nil, (b.Out*b.In+1)/2, 1)
	packed.Load = func() (safetensors.Tensor, error) {
		x, err := read()
		if err != nil {
			return packed, err
		}
		t := packed
		t.Raw = b.Pack(x)
		return t, nil
	}
	ts := []safetensors.Tensor{packed, safetensors.F32(name+".quant_map", slices.Clone(b.Code.Values[:]), 16)}
	if n := b.Nested; n != nil {
		s.NestedBlockSize, s.NestedDType, s.NestedOffset = 256, "float32", float64(n.Offset)
		ts = append(ts, bytes(".absmax", n.Codes, len(n.Codes)), safetensors.F32(name+".nested_absmax", n.Absmax, len(n.Absmax)),
			safetensors.F32(name+".nested_quant_map", slices.Clone(n.Map[:]), 256))
	} else {
		ts = append(ts, safetensors.F32(name+".absmax", b.Absmax, len(b.Absmax)))
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return append(ts, bytes(stateInfix+b.Code.Name, raw, len(raw))), nil
}
