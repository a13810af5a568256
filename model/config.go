package model

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/quant"
)

// Config is what every family says of itself. The rest of config.json stays with the family that reads it.
type Config struct {
	ModelType    string // "llama"
	Architecture string // "LlamaForCausalLM"
	Vocab        int
	Hidden       int
	Layers       int
	Heads        int
	KVHeads      int
	HeadDim      int
	Intermediate int
	MaxPositions int
	Tied         bool  // the head's weight is the embedding's
	BOS, PAD     int32 // token ids, -1 where config.json has none
	EOS          []int32
	Task         string // what the model was opened for: CAUSAL_LM or SEQ_CLS
	NumLabels    int    // classes of SEQ_CLS
	DType        string // of the weights' file, as config.json says: "float16"; empty when it does not

	seed          uint64               // of a fresh head
	labels        []string             // names of the classes, nil for those of config.json
	fresh         map[string][]float32 // weights that the folder does not have
	raw           map[string]json.RawMessage
	int8Threshold float32 // of a checkpoint of LLM.int8
	tensors       int     // that the folder has, each layer one at least; 0 where the weights are random
	// values are the keys that the family has read, with what absent ones mean.
	values map[string]any
	rope   ropeFacts
}

// intOrList is a token id, a list of them, or null.
type intOrList []int32

func (l *intOrList) UnmarshalJSON(b []byte) error {
	var one *int32
	if json.Unmarshal(b, &one) == nil {
		*l = nil
		if one != nil {
			*l = intOrList{*one}
		}
		return nil
	}
	return json.Unmarshal(b, (*[]int32)(l))
}

// parseConfig reads the keys that all families share and finds the family.
func parseConfig(raw []byte, task Task) (*Config, *family, error) {
	var c struct {
		Architectures []string  `json:"architectures"`
		ModelType     string    `json:"model_type"`
		Vocab         int       `json:"vocab_size"`
		Tied          *bool     `json:"tie_word_embeddings"`
		BOS           intOrList `json:"bos_token_id"`
		EOS           intOrList `json:"eos_token_id"`
		PAD           intOrList `json:"pad_token_id"`
		DType         string    `json:"dtype"`
		TorchDType    string    `json:"torch_dtype"`
		Quantization  *struct {
			Method    string   `json:"quant_method"`
			FourBit   bool     `json:"load_in_4bit"`
			EightBit  bool     `json:"load_in_8bit"`
			Threshold *float32 `json:"llm_int8_threshold"`
		} `json:"quantization_config"`
	}
	if err := storage.Unmarshal(raw, &c); err != nil {
		return nil, nil, fmt.Errorf("config.json: %w", err)
	}
	threshold := float32(quant.Int8Threshold)
	if q := c.Quantization; q != nil {
		if q.Method != "bitsandbytes" || !q.FourBit && !q.EightBit {
			return nil, nil, fmt.Errorf("config.json: quantization_config: only bitsandbytes' checkpoints (quant_method bitsandbytes, "+
				"load_in_4bit or load_in_8bit) are read, "+
				"not %q; use the model's original weights", q.Method)
		}
		if q.Threshold != nil {
			threshold = *q.Threshold
		}
		if !(threshold >= 0) {
			return nil, nil, fmt.Errorf("config.json: quantization_config: llm_int8_threshold is %g; it must be at least 0", threshold)
		}
	}
	cfg := &Config{ModelType: c.ModelType, Vocab: c.Vocab, Tied: c.Tied != nil && *c.Tied, BOS: first(c.BOS), PAD: first(c.PAD), EOS: c.EOS,
		DType: c.DType, int8Threshold: threshold}
	if cfg.DType == "" {
		cfg.DType = c.TorchDType
	}
	if err := json.Unmarshal(raw, &cfg.raw); err != nil {
		return nil, nil, fmt.Errorf("config.json: %w", err)
	}
	if err := cfg.checkRanges(); err != nil {
		return nil, nil, err
	}
	for i := range families {
		f := &families[i]
		for _, h := range heads {
			name := h.architecture(f)
			if !slices.Contains(c.Architectures, name) && !(len(c.Architectures) == 0 && c.ModelType == f.modelType) {
				continue
			}
			cfg.Architecture = name
			if err := cfg.setTask(h.task, task); err != nil {
				return nil, nil, err
			}
			if c.Tied == nil {
				cfg.Tied = f.tied
			}
			if c.Vocab <= 0 {
				return nil, nil, fmt.Errorf("config.json: vocab_size is %d", c.Vocab)
			}
			if cfg.Task != "CAUSAL_LM" {
				cfg.Tied = false // the head of classes is not an embedding
			}
			return cfg, f, nil
		}
	}
	return nil, nil, fmt.Errorf("config.json: architecture %s (model_type %q) is not supported; supported are %s",
		strings.Join(c.Architectures, ", "), c.ModelType, strings.Join(Architectures(), ", "))
}

// errShapes keeps a loader from making weights.
var errShapes = errors.New("only the shapes are wanted")

// Describe reads the text of a config.json and gives the model's configuration and the number of its weights, a tied one counted once,
// without reading or making any.
func Describe(raw []byte) (Config, int64, error) {
	cfg, fam, err := parseConfig(raw, Task{})
	if err != nil {
		return Config{}, 0, err
	}
	l := &loader{err: errShapes, used: map[string]bool{}, stored: map[string]Stored{}}
	if _, err := fam.open(cfg, l); err != nil {
		return Config{}, 0, err
	}
	return *cfg, l.params, nil
}

func first(l intOrList) int32 {
	if len(l) == 0 {
		return -1
	}
	return l[0]
}

// read decodes one key of config.json into dst and says whether it is there and not null.
func (c *Config) read(key string, dst any) (bool, error) {
	raw, ok := c.raw[key]
	if !ok || string(raw) == "null" {
		return false, nil
	}
	if err := json.Unmarshal(raw, dst); err != nil {
		return false, fmt.Errorf("config.json: %s: %w", key, err)
	}
	return true, nil
}

// null says whether config.json gives the key as null.
func (c *Config) null(key string) bool { return string(c.raw[key]) == "null" }

// field is one key that a family reads. need says that the key must be there, unless the destination has a default.
type field struct {
	key  string
	dst  any
	need bool
}

func (c *Config) fields(fs ...field) error {
	for _, f := range fs {
		ok, err := c.read(f.key, f.dst)
		if err != nil {
			return err
		}
		if !ok && f.need {
			return fmt.Errorf("config.json: no %s", f.key)
		}
		if c.values == nil {
			c.values = map[string]any{}
		}
		c.values[f.key] = reflect.ValueOf(f.dst).Elem().Interface()
	}
	return nil
}

// only fails when key has another value than those that the family implements; the first is what an absent key means.
func (c *Config) only(key string, allowed ...any) error {
	var v any
	ok, err := c.read(key, &v)
	if err != nil || !ok {
		return err
	}
	for _, a := range allowed {
		if v == a {
			return nil
		}
	}
	return fmt.Errorf("config.json: %s: %v is not supported (supported: %v)", key, v, allowed)
}

// mostLayers bounds the layers of a model of random weights.
const mostLayers = 1 << 14

// check verifies what every family needs of its sizes.
func (c *Config) check() error {
	for _, v := range []struct {
		name string
		n    int
	}{{"hidden size", c.Hidden}, {"number of layers", c.Layers}, {"number of attention heads", c.Heads},
		{"number of key/value heads", c.KVHeads},
		{"head size", c.HeadDim}, {"intermediate size", c.Intermediate}, {"number of positions", c.MaxPositions}} {
		if v.n <= 0 || v.n > 1<<28 {
			return fmt.Errorf("config.json: the %s is %d", v.name, v.n)
		}
	}
	// Before anything is made for each layer.
	if most := cmp.Or(c.tensors, mostLayers); c.Layers > most {
		return fmt.Errorf("config.json: num_hidden_layers is %d, and the weights have %d tensors in all: the two do not belong together",
			c.Layers, most)
	}
	if most := int64(1) << 40; int64(c.Heads)*int64(c.HeadDim) > 1<<28 || int64(c.Vocab) > most/int64(c.Hidden) {
		return fmt.Errorf("config.json: %d heads of %d, a vocabulary of %d and a hidden size of %d are out of proportion", c.Heads,
			c.HeadDim, c.Vocab, c.Hidden)
	}
	if c.Heads%c.KVHeads != 0 {
		return fmt.Errorf("config.json: %d attention heads do not share %d key/value heads evenly", c.Heads, c.KVHeads)
	}
	return nil
}

// activations are the names of transformers' ACT2FN that the kernels have.
var activations = map[string]kernels.Act{
	"silu": kernels.SiLU, "swish": kernels.SiLU, "gelu": kernels.GELU, "gelu_new": kernels.GELUTanh,
	"gelu_pytorch_tanh": kernels.GELUTanh, "relu": kernels.ReLU,
}

func activation(key, name string) (kernels.Act, error) {
	if a, ok := activations[name]; ok {
		return a, nil
	}
	names := make([]string, 0, len(activations))
	for n := range activations {
		names = append(names, n)
	}
	slices.Sort(names)
	return 0, fmt.Errorf("config.json: %s: %q is not supported (supported: %s)", key, name, strings.Join(names, ", "))
}
