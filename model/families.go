package model

import (
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/nn"
)

// family is a row of the table of model families.
type family struct {
	architecture string // of config.json
	modelType    string
	tied         bool   // tie_word_embeddings where config.json does not say
	prefix       string // module prefix that files may lack
	// open reads the family's configuration and its weights.
	open func(c *Config, l *loader) (nn.Wiring, error)
	// ignore names tensors of genuine files that are not weights.
	ignore func(name string) bool
	gguf   *ggufForm // how GGUF files have the family, nil where llama.cpp has none
}

// families is the table of what can be loaded. Adding a family is a file and a row here.
var families = []family{
	{architecture: "LlamaForCausalLM", modelType: "llama", open: openLlama, ignore: rotaryBuffer, gguf: llamaGGUF},
	{architecture: "MistralForCausalLM", modelType: "mistral", open: openMistral, ignore: rotaryBuffer, gguf: llamaGGUF},
	{architecture: "Qwen2ForCausalLM", modelType: "qwen2", open: openQwen2, ignore: rotaryBuffer, gguf: qwen2GGUF},
	{architecture: "Qwen3ForCausalLM", modelType: "qwen3", open: openQwen3, ignore: rotaryBuffer, gguf: qwen3GGUF},
	{architecture: "GemmaForCausalLM", modelType: "gemma", tied: true, open: openGemma, ignore: rotaryBuffer, gguf: gemmaGGUF},
	{architecture: "Gemma2ForCausalLM", modelType: "gemma2", tied: true, open: openGemma2, ignore: rotaryBuffer, gguf: gemma2GGUF},
	{architecture: "Gemma3ForCausalLM", modelType: "gemma3_text", tied: true, open: openGemma3, ignore: rotaryBuffer, gguf: gemma3GGUF},
	{architecture: "GPT2LMHeadModel", modelType: "gpt2", tied: true, prefix: "transformer.", open: openGPT2, ignore: gpt2Buffer,
		gguf: gpt2GGUF},
	{architecture: "GPTNeoXForCausalLM", modelType: "gpt_neox", open: openGPTNeoX, ignore: neoxBuffer, gguf: neoxGGUF},
	{architecture: "OPTForCausalLM", modelType: "opt", tied: true, prefix: "model.", open: openOPT, ignore: noBuffer},
	{architecture: "PhiForCausalLM", modelType: "phi", open: openPhi, ignore: rotaryBuffer, gguf: phiGGUF},
	{architecture: "Phi3ForCausalLM", modelType: "phi3", open: openPhi3, ignore: rotaryBuffer, gguf: phi3GGUF},
}

// Architectures lists the supported values of config.json's architectures, sorted.
func Architectures() []string {
	var names []string
	for i := range families {
		for _, h := range heads {
			names = append(names, h.architecture(&families[i]))
		}
	}
	slices.Sort(names)
	return names
}

// rotaryBuffer names the inverse frequencies that old checkpoints carry.
func rotaryBuffer(name string) bool { return strings.HasSuffix(name, "rotary_emb.inv_freq") }

func noBuffer(string) bool { return false }
