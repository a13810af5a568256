package tokenize

import (
	"slices"
	"strings"
)

// ggufPre is a row of the table of llama.cpp's pre-tokenizers (tokenizer.ggml.pre): what each does to a text before its bytes are spelled.
// Source: llama.cpp's src/llama-vocab.cpp; where a tokenizer.json of Hugging Face has a pattern that does the same, it is that.
type ggufPre struct {
	names []string
	// splits are applied in turn; what matches stands by itself, and what is between matches stays.
	splits []string
	ignore bool // ignore_merges: a word that is a token stays whole
	bos    bool // texts begin with bos_token where the file does not say
}

const (
	patternDigit  = `\p{N}`
	patternThrees = `[0-9][0-9][0-9]`
	pattern100K   = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternTekken = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|` +
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	pattern200K = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}|` +
		` ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternBloom = ` ?[^(\s|.,!?…。，、।۔،)]+`
	patternV3    = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|" +
		`\s*[\r\n]+|\s+(?!\S)|\s+`
)

// ggufPres is the table. A pre-tokenizer that it lacks is refused by name.
var ggufPres = []ggufPre{
	{names: []string{"gpt-2", "phi-2", "gigachat", "a.x-4.0", "mellum", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4"},
		splits: []string{patternGPT2}},
	{names: []string{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
		splits: []string{pattern100K}, ignore: true, bos: true},
	{names: []string{"glm4"}, splits: []string{pattern100K}, ignore: true},
	{names: []string{"dbrx", "smaug-bpe", "chatglm-bpe"}, splits: []string{pattern100K}},
	{names: []string{"qwen2", "stablelm2", "hunyuan", "solar-open", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "grok-2"},
		splits: []string{patternQwen2}},
	{names: []string{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"},
		splits: []string{patternDigit, patternGPT2}},
	{names: []string{"falcon"}, splits: []string{"[\\p{P}\\$\\+<=>\\^~\\|`]+", patternGPT2, patternThrees}},
	{names: []string{"tekken"}, splits: []string{patternTekken}, ignore: true, bos: true},
	{names: []string{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, splits: []string{pattern200K}},
	{names: []string{"deepseek-coder"}, splits: []string{`[\r\n]`, `\s?\p{L}+`, `\s?\p{P}+`, `[一-龥ࠀ-一가-퟿]+`, patternDigit}},
	{names: []string{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"}, splits: []string{`\p{N}{1,3}`, `[一-龥぀-ゟ゠-ヿ]+`, patternV3}},
	{names: []string{"poro-chat", "bloom", "gpt3-finnish"}, splits: []string{patternBloom}},
	{names: []string{"viking"}, splits: []string{patternBloom, patternDigit}},
	{names: []string{"default", ""}, splits: []string{`[\p{P}\$\+<=>\^~\|]+`, patternGPT2, `\p{N}+`, patternThrees}},
}

// ggufPreOf is the row of a name, nil where there is none.
func ggufPreOf(name string) *ggufPre {
	for i := range ggufPres {
		if slices.Contains(ggufPres[i].names, name) {
			return &ggufPres[i]
		}
	}
	return nil
}

// GGUFPreTokenizers lists the names of tokenizer.ggml.pre that are read.
func GGUFPreTokenizers() string {
	var all []string
	for _, r := range ggufPres {
		all = append(all, r.names...)
	}
	return strings.Trim(strings.Join(all, ", "), ", ")
}

// tokenizerJSON is the pre_tokenizer of a tokenizer.json that does what the row says.
func (p *ggufPre) tokenizerJSON() map[string]any {
	byteLevel := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
	splits := p.splits
	if n := len(splits); splits[n-1] == patternGPT2 {
		splits, byteLevel["use_regex"] = splits[:n-1], true
	}
	if len(splits) == 0 {
		return byteLevel
	}
	var steps []any
	for _, s := range splits {
		if s == patternDigit {
			steps = append(steps, map[string]any{"type": "Digits", "individual_digits": true})
			continue
		}
		steps = append(steps, map[string]any{"type": "Split", "pattern": map[string]any{"Regex": s}, "behavior": "Isolated",
			"invert": false})
	}
	return map[string]any{"type": "Sequence", "pretokenizers": append(steps, byteLevel)}
}
