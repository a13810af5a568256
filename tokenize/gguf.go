package tokenize

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/adaptflow/adaptflow/internal/gguf"
)

// The types of tokens in a GGUF file.
const (
	ggufNormal = 1 + iota
	ggufUnknown
	ggufControl
	ggufUserDefined
	ggufUnused
	ggufByte
)

// ggufVocab is what a GGUF file says of its tokenizer.
type ggufVocab struct {
	meta   gguf.Meta
	model  string // gpt2 or llama
	tokens []string
	types  []int
	ids    map[string]int // of special tokens by their key: bos, eos, unknown, padding, eot, eom
	pre    *ggufPre
	rstrip bool // special tokens take the white space behind them away
}

// ggufEnds are tokens that end what llama.cpp generates, by their text. They are special whatever their type.
var ggufEnds = []string{"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<end_of_turn>", "<|endoftext|>", "</s>",
	"<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<｜end▁of▁sentence｜>"}

// ggufModels are the tokenizers of GGUF that are read: the ids of special tokens where a file does not say them, and whether texts begin
// with bos_token.
var ggufModels = map[string]struct {
	bos, eos, unknown int
	begins            bool
	make              func(v *ggufVocab) (map[string]any, error)
}{
	"gpt2":  {bos: -1, eos: -1, unknown: -1, make: (*ggufVocab).byteBPE},
	"llama": {bos: 1, eos: 2, unknown: 0, begins: true, make: (*ggufVocab).sentencePiece},
}

// GGUFFiles makes of the metadata of a GGUF file the files of a Hugging Face folder that say what its tokenizer is, by their names:
// tokenizer.json, tokenizer_config.json with the chat template, and generation_config.json with the tokens that end a text. Ids are those
// that llama.cpp gives a text in which special tokens count.
func GGUFFiles(meta gguf.Meta) (map[string][]byte, error) {
	v, err := readGGUFVocab(meta)
	if err != nil {
		return nil, err
	}
	row := ggufModels[v.model]
	tok, err := row.make(v)
	if err != nil {
		return nil, err
	}
	bos, eos := row.begins || v.pre != nil && v.pre.bos, false
	for key, to := range map[string]*bool{"add_bos_token": &bos, "add_eos_token": &eos} {
		if said, ok, err := meta.Bool("tokenizer.ggml." + key); err != nil {
			return nil, err
		} else if ok {
			*to = said
		}
	}
	if tok["post_processor"], err = v.post(bos, eos); err != nil {
		return nil, err
	}
	config, err := v.config(bos, eos)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for file, x := range map[string]any{"tokenizer.json": tok, "tokenizer_config.json": config,
		"generation_config.json": map[string]any{"eos_token_id": v.ends()}} {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", " ")
		if err := e.Encode(x); err != nil {
			return nil, err
		}
		out[file] = b.Bytes()
	}
	return out, nil
}

// readGGUFVocab reads and checks the metadata.
func readGGUFVocab(meta gguf.Meta) (*ggufVocab, error) {
	v := &ggufVocab{meta: meta, ids: map[string]int{}}
	var pre, name string
	var err error
	for key, to := range map[string]*string{"tokenizer.ggml.model": &v.model, "tokenizer.ggml.pre": &pre, "general.name": &name} {
		if *to, _, err = meta.String(key); err != nil {
			return nil, err
		}
	}
	row, ok := ggufModels[v.model]
	switch {
	case v.model == "":
		return nil, fmt.Errorf("it has no tokenizer (tokenizer.ggml.model)")
	case !ok:
		return nil, fmt.Errorf("tokenizer.ggml.model %q is not supported; gpt2 (byte-level BPE) and llama (SentencePiece) are", v.model)
	}
	if v.tokens, ok, err = meta.Strings("tokenizer.ggml.tokens"); err != nil || !ok || len(v.tokens) == 0 {
		return nil, cause(err, "it has no tokenizer.ggml.tokens")
	}
	if len(v.tokens) > maxVocab {
		return nil, fmt.Errorf("tokenizer.ggml.tokens has %d tokens, more than %d", len(v.tokens), maxVocab)
	}
	if v.types, ok, err = meta.Ints("tokenizer.ggml.token_type"); err != nil || ok && len(v.types) != len(v.tokens) {
		return nil, cause(err, "tokenizer.ggml.token_type has %d entries for %d tokens", len(v.types), len(v.tokens))
	}
	if !ok {
		v.types = slices.Repeat([]int{ggufNormal}, len(v.tokens))
	}
	v.types = slices.Clone(v.types)
	if v.model == "gpt2" {
		if v.pre = ggufPreOf(pre); v.pre == nil {
			return nil, fmt.Errorf("the pre-tokenizer %q (tokenizer.ggml.pre) is not supported; supported are %s", pre, GGUFPreTokenizers())
		}
	}
	low := strings.ToLower(name)
	v.rstrip = strings.Contains(low, "phi-3") || strings.Contains(low, "phi3")
	if err := v.distinct(); err != nil {
		return nil, err
	}
	v.ids["bos"], v.ids["eos"], v.ids["unknown"] = row.bos, row.eos, row.unknown
	for _, key := range []string{"bos", "eos", "unknown", "padding", "eot", "eom"} {
		id, ok, err := meta.Int("tokenizer.ggml." + key + "_token_id")
		if err != nil {
			return nil, err
		}
		if ok && id >= 0 && id < len(v.tokens) { // llama.cpp leaves out what is not in the vocabulary
			v.ids[key] = id
		} else if _, def := v.ids[key]; !def || v.ids[key] >= len(v.tokens) {
			v.ids[key] = -1
		}
	}
	return v, nil
}

// cause is an error, or where there is none the text.
func cause(err error, format string, a ...any) error {
	if err != nil {
		return err
	}
	return fmt.Errorf(format, a...)
}

// distinct checks that no two tokens have one text, and gives those that end a text their type.
func (v *ggufVocab) distinct() error {
	seen := make(map[string]int, len(v.tokens))
	for id, t := range v.tokens {
		if t == "" {
			return fmt.Errorf("tokenizer.ggml.tokens: token %d is empty", id)
		}
		if other, twice := seen[t]; twice && !v.padding(id) {
			return fmt.Errorf("tokenizer.ggml.tokens: tokens %d and %d are both %q", other, id, t)
		}
		seen[t] = id
	}
	for _, t := range ggufEnds {
		if id, ok := seen[t]; ok && v.types[id] != ggufUnused {
			v.types[id] = ggufControl
		}
	}
	return nil
}

// padding says whether a token only fills the vocabulary up to the embedding's rows.
func (v *ggufVocab) padding(id int) bool {
	return v.types[id] == ggufUnused && v.tokens[id] == "[PAD"+strconv.Itoa(id)+"]"
}

// vocab is the vocabulary by text, without what only fills it up.
func (v *ggufVocab) vocab() map[string]int {
	out := make(map[string]int, len(v.tokens))
	for id, t := range v.tokens {
		if !v.padding(id) {
			out[t] = id
		}
	}
	return out
}

// added are the tokens that are looked for in a text before anything else.
func (v *ggufVocab) added() []map[string]any {
	var out []map[string]any
	for id, t := range v.tokens {
		special := v.types[id] == ggufControl || v.types[id] == ggufUnknown
		if !special && v.types[id] != ggufUserDefined {
			continue
		}
		strips := v.rstrip && !slices.Contains([]string{"<unk>", "<s>", "<|endoftext|>"}, t)
		out = append(out, map[string]any{"id": id, "content": t, "single_word": false, "lstrip": false, "rstrip": strips,
			"normalized": false, "special": special})
	}
	return out
}

// byteBPE makes the tokenizer.json of a byte-level BPE.
func (v *ggufVocab) byteBPE() (map[string]any, error) {
	lines, ok, err := v.meta.Strings("tokenizer.ggml.merges")
	if err != nil || !ok {
		return nil, cause(err, "it has no tokenizer.ggml.merges")
	}
	vocab := v.vocab()
	merges := make([][2]string, 0, len(lines))
	for i, l := range lines {
		at := -1
		if len(l) > 1 {
			at = strings.IndexByte(l[1:], ' ') + 1
		}
		if at <= 0 || at == len(l)-1 {
			return nil, fmt.Errorf("tokenizer.ggml.merges: merge %d is %q, not two tokens with a space between", i, l)
		}
		p := [2]string{l[:at], l[at+1:]}
		for _, t := range []string{p[0], p[1], p[0] + p[1]} {
			if _, ok := vocab[t]; !ok {
				return nil, fmt.Errorf("tokenizer.ggml.merges: merge %d is %q, and %q is not a token", i, l, t)
			}
		}
		merges = append(merges, p)
	}
	byteLevel := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	return map[string]any{"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": v.added(), "normalizer": nil,
		"pre_tokenizer": v.pre.tokenizerJSON(), "decoder": byteLevel,
		"model": map[string]any{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": "", "end_of_word_suffix": "",
			"fuse_unk": false, "byte_fallback": false, "ignore_merges": v.pre.ignore, "vocab": vocab, "merges": merges}}, nil
}

// sentencePiece makes the tokenizer.json of SentencePiece's BPE, as transformers converts it: a merge is any cut of a token into two
// others, and the token's score is its rank.
func (v *ggufVocab) sentencePiece() (map[string]any, error) {
	scores, ok, err := v.meta.Floats("tokenizer.ggml.scores")
	if err != nil || !ok || len(scores) != len(v.tokens) {
		return nil, cause(err, "tokenizer.ggml.scores has %d entries for %d tokens", len(scores), len(v.tokens))
	}
	vocab := v.vocab()
	merges, err := v.pieces(vocab, scores)
	if err != nil {
		return nil, err
	}
	prefix := true
	if said, ok, err := v.meta.Bool("tokenizer.ggml.add_space_prefix"); err != nil {
		return nil, err
	} else if ok {
		prefix = said
	}
	space := map[string]any{"String": " "}
	norm := []any{map[string]any{"type": "Replace", "pattern": space, "content": string(metaRune)}}
	decode := []any{map[string]any{"type": "Replace", "pattern": map[string]any{"String": string(metaRune)}, "content": " "},
		map[string]any{"type": "ByteFallback"}, map[string]any{"type": "Fuse"}}
	if prefix {
		norm = append([]any{map[string]any{"type": "Prepend", "prepend": string(metaRune)}}, norm...)
		decode = append(decode, map[string]any{"type": "Strip", "content": " ", "start": 1, "stop": 0})
	}
	var unk any
	if id := v.ids["unknown"]; id >= 0 {
		unk = v.tokens[id]
	}
	return map[string]any{"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": v.added(),
		"normalizer": map[string]any{"type": "Sequence", "normalizers": norm}, "pre_tokenizer": nil,
		"decoder": map[string]any{"type": "Sequence", "decoders": decode},
		"model": map[string]any{"type": "BPE", "dropout": nil, "unk_token": unk, "continuing_subword_prefix": nil,
			"end_of_word_suffix": nil, "fuse_unk": true, "byte_fallback": true,
			"ignore_merges": false, "vocab": vocab, "merges": merges}}, nil
}

// longestPiece bounds the tokens that are cut into merges, as one of n bytes has n−1 cuts.
const longestPiece = 1 << 10

// pieces are the merges of a SentencePiece vocabulary, best first. Of the cuts of one token the one whose parts have the smaller ids comes
// first.
func (v *ggufVocab) pieces(vocab map[string]int, scores []float32) ([][2]string, error) {
	type merge struct{ a, b, to int }
	var all []merge
	for id, t := range v.tokens {
		if v.types[id] == ggufByte || v.types[id] == ggufControl || v.types[id] == ggufUnknown || v.padding(id) {
			continue
		}
		if len(t) > longestPiece {
			return nil, fmt.Errorf("tokenizer.ggml.tokens: token %d has %d bytes, more than %d", id, len(t), longestPiece)
		}
		for cut := range t { // at characters
			if cut == 0 {
				continue
			}
			a, ok := vocab[t[:cut]]
			b, ok2 := vocab[t[cut:]]
			if ok && ok2 {
				all = append(all, merge{a, b, id})
			}
		}
	}
	slices.SortStableFunc(all, func(x, y merge) int {
		switch {
		case scores[x.to] != scores[y.to]:
			if scores[x.to] > scores[y.to] {
				return -1
			}
			return 1
		case x.to != y.to:
			return x.to - y.to
		case x.a != y.a:
			return x.a - y.a
		}
		return x.b - y.b
	})
	out := make([][2]string, len(all))
	for i, m := range all {
		out[i] = [2]string{v.tokens[m.a], v.tokens[m.b]}
	}
	return out, nil
}

// post is the post-processor that puts bos_token and eos_token around a text.
func (v *ggufVocab) post(bos, eos bool) (any, error) {
	if !bos && !eos {
		return nil, nil
	}
	special := map[string]any{}
	var single, pair []any
	sequence := func(id string, n int) any { return map[string]any{"Sequence": map[string]any{"id": id, "type_id": n}} }
	token := func(want bool, key string, n int) ([]any, error) {
		if !want {
			return nil, nil
		}
		id := v.ids[key]
		if id < 0 {
			return nil, fmt.Errorf("tokenizer.ggml.add_%s_token is true, and there is no %s token", key, key)
		}
		t := v.tokens[id]
		special[t] = map[string]any{"id": t, "ids": []int{id}, "tokens": []string{t}}
		return []any{map[string]any{"SpecialToken": map[string]any{"id": t, "type_id": n}}}, nil
	}
	for n, seq := range []string{"A", "B"} {
		before, err := token(bos, "bos", n)
		if err != nil {
			return nil, err
		}
		after, err := token(eos, "eos", n)
		if err != nil {
			return nil, err
		}
		pair = slices.Concat(pair, before, []any{sequence(seq, n)}, after)
		if n == 0 {
			single = slices.Clone(pair)
		}
	}
	return map[string]any{"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}, nil
}

// templateKey begins the keys of chat templates.
const templateKey = "tokenizer.chat_template"

// config is tokenizer_config.json.
func (v *ggufVocab) config(bos, eos bool) (map[string]any, error) {
	out := map[string]any{"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": bos, "add_eos_token": eos,
		"clean_up_tokenization_spaces": false}
	for key, role := range map[string]string{"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"} {
		out[role] = nil
		if id := v.ids[key]; id >= 0 {
			out[role] = v.tokens[id]
		}
	}
	template, ok, err := v.meta.String(templateKey)
	if err != nil {
		return nil, err
	}
	named := []map[string]string{}
	for _, kv := range v.meta {
		name, is := strings.CutPrefix(kv.Key, templateKey+".")
		if text, str := kv.Value.(string); is && str {
			named = append(named, map[string]string{"name": name, "template": text})
		}
	}
	switch {
	case ok && len(named) > 0:
		out["chat_template"] = append([]map[string]string{{"name": "default", "template": template}}, named...)
	case ok:
		out["chat_template"] = template
	case len(named) > 0:
		out["chat_template"] = named
	}
	return out, nil
}

// ends are the ids that end what is generated: eos, eot and eom, then those that llama.cpp knows by their text.
func (v *ggufVocab) ends() []int {
	var out []int
	for _, key := range []string{"eos", "eot", "eom"} {
		if id := v.ids[key]; id >= 0 && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	for id, t := range v.tokens {
		if slices.Contains(ggufEnds, t) && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}
