package export

import "github.com/adaptflow/adaptflow/internal/settings"

// Config says what is written at the end of a run: a recipe's section export. What the tags say of a setting is checked, listed
// and described from there: see package settings.
type Config struct {
	Merged      bool   `yaml:"merged" json:"merged" help:"also write the merged model"`
	MergedDType string `yaml:"merged_dtype" json:"merged_dtype" help:"storage of the merged model; empty for the base model's" enum:",float32,float16,bfloat16"`
	GGUF        string `yaml:"gguf" json:"gguf,omitempty" since:"0.2" help:"also write the merged model as a GGUF file for llama.cpp and Ollama, quantised so" enum:",F32,F16,BF16,Q8_0,Q6_K,Q5_K_M,Q4_K_M,Q4_0"`
	GGUFLora    bool   `yaml:"gguf_lora" json:"gguf_lora,omitempty" since:"0.2" help:"also write the adapter as a GGUF file, which llama.cpp and Ollama load over the base model's"`
	GGUFMaxRank int    `yaml:"gguf_max_rank" json:"gguf_max_rank,omitempty" bounds:"[0,65536]" since:"0.2" help:"largest rank of an update in the adapter's GGUF file that is not a product of two matrices, or is one of a larger rank: part of it is lost; 0 for what loses nothing"`
	// Formats are of those that [Register] added.
	Formats settings.Named `yaml:"formats" json:"formats,omitempty" since:"0.2" help:"formats, registered by a program of another module, that are written too: names, or {name: NAME} with settings"`
}
