package quant

// Config is the settings of storage, under the names of transformers' BitsAndBytesConfig where they exist there: a part of a recipe's
// section model.
type Config struct {
	DType       string `yaml:"dtype" json:"dtype" help:"storage of the frozen weights, and of what the backward pass reads; auto takes bfloat16 where the processor multiplies it faster" enum:"float32,bfloat16,auto"`
	LoadIn4Bit  bool   `yaml:"load_in_4bit" json:"load_in_4bit" help:"store the projections of the blocks as bitsandbytes' 4-bit codes (QLoRA)"`
	LoadIn8Bit  bool   `yaml:"load_in_8bit" json:"load_in_8bit" help:"store the projections of the blocks as 8-bit codes and quantise their inputs (LLM.int8)"`
	QuantType   string `yaml:"bnb_4bit_quant_type" json:"bnb_4bit_quant_type" help:"the 4-bit code" enum:"nf4,fp4"`
	DoubleQuant bool   `yaml:"bnb_4bit_use_double_quant" json:"bnb_4bit_use_double_quant" help:"quantise the scales of the 4-bit blocks too"`
	GGUF        string `yaml:"gguf" json:"gguf" since:"0.2" help:"the blocks of a base that is a GGUF file: bf16 widens them to dtype; keep leaves them as the file has them, mapped into memory, and expands them in each product" enum:"bf16,keep"`
	Weights     string `yaml:"weights" json:"weights" help:"where the frozen weights lie: in memory; mapped: packed in a file of the cache folder that all processes of the machine share; streamed: in that file, with one matrix at a time in memory, for a base that is larger than memory (quantised projections stay in memory)" enum:"memory,mapped,streamed"`
}

// Storage is the text of the [Spec] that the settings ask for; its dense part may be "auto", which the program that trains resolves.
func (c *Config) Storage() string {
	s := c.DType
	switch {
	case c.LoadIn8Bit:
		s += "+int8"
	case c.LoadIn4Bit:
		s += "+" + c.QuantType
		if c.DoubleQuant {
			s += "_dq"
		}
	}
	if c.GGUF == "keep" {
		s += "+" + keepName
	}
	if c.Weights != "memory" {
		s += "@" + c.Weights
	}
	return s
}
