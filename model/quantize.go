package model

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/quant"
)

// Quantization says how SaveQuantized quantises.
type Quantization struct {
	Type   string // nf4 or fp4
	Double bool   // the scales too
}

// SaveQuantized writes the model's folder to dst with the projections of its blocks as 4-bit codes, as transformers' save_pretrained does of a
// model loaded with BitsAndBytesConfig(load_in_4bit=True): embeddings, norms, biases and the head stay as they are. config.json is written last.
func (m *Model) SaveQuantized(dst string, q Quantization) error {
	code := map[string]*quant.Code4{"nf4": quant.NF4, "fp4": quant.FP4}[q.Type]
	if code == nil {
		return fmt.Errorf("quant_type %q is unknown; known are nf4, fp4", q.Type)
	}
	if _, ok := m.Config.raw["quantization_config"]; ok {
		return fmt.Errorf("%s is quantised already", m.dir)
	}
	src, err := safetensors.OpenDir(m.dir)
	if err != nil {
		return err
	}
	defer src.Close()
	module := map[string]string{} // by the name in the file
	for _, s := range nn.Sites(m) {
		st, ok := m.stored[s.Name+".weight"]
		if s.Kind != nn.KindLinear || !ok {
			continue
		}
		if st.Transposed {
			return fmt.Errorf("%s is stored as [in, out] (Conv1D), of which bitsandbytes has no 4-bit checkpoint; train on it with load_in_4bit instead", st.Name)
		}
		module[st.Name] = s.Name
	}
	var ts []safetensors.Tensor
	for _, n := range src.Names() {
		info, _ := src.Info(n)
		if module[n] == "" {
			raw, err := src.Bytes(n)
			if err != nil {
				return err
			}
			ts = append(ts, safetensors.Tensor{Name: n, DType: info.DType, Shape: info.Shape, Raw: raw})
			continue
		}
		x, err := src.Float32(n)
		if err != nil {
			return err
		}
		out, in := info.Shape[0], info.Shape[1]
		b := quant.Quantize4(code, x, out, in, quant.BlockSize, q.Double)
		parts, err := codeTensors(n, b, dtypeOf(info.DType))
		if err != nil {
			return err
		}
		ts = append(ts, parts...)
	}
	if err := storage.MkdirAll(dst); err != nil {
		return err
	}
	if err := writeWeights(dst, ts); err != nil {
		return err
	}
	if err := m.copyTokenizer(dst); err != nil {
		return err
	}
	config := map[string]any{}
	for k, v := range m.Config.raw {
		config[k] = v
	}
	config["quantization_config"] = map[string]any{"quant_method": "bitsandbytes", "load_in_4bit": true, "load_in_8bit": false, "_load_in_4bit": true,
		"_load_in_8bit": false, "bnb_4bit_quant_type": q.Type, "bnb_4bit_use_double_quant": q.Double, "bnb_4bit_compute_dtype": "float32",
		"bnb_4bit_quant_storage": "uint8", "llm_int8_enable_fp32_cpu_offload": false, "llm_int8_has_fp16_weight": false, "llm_int8_skip_modules": nil,
		"llm_int8_threshold": json.RawMessage("6.0")}
	raw, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	return storage.WriteFile(filepath.Join(dst, "config.json"), append(raw, '\n'))
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

// codeTensors are the tensors of a quantised matrix in a bitsandbytes checkpoint.
func codeTensors(name string, b *quant.Bits4, dtype string) ([]safetensors.Tensor, error) {
	s := quantState{QuantType: b.Code.Name, BlockSize: b.BlockSize, DType: dtype, Shape: []int{b.Out, b.In}}
	bytes := func(suffix string, x []uint8, shape ...int) safetensors.Tensor {
		return safetensors.Tensor{Name: name + suffix, DType: "U8", Shape: shape, Raw: x}
	}
	ts := []safetensors.Tensor{bytes("", b.Packed, len(b.Packed), 1), safetensors.F32(name+".quant_map", slices.Clone(b.Code.Values[:]), 16)}
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
