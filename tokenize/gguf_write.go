package tokenize

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/adaptflow/adaptflow/internal/gguf"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// ggufParts are what the metadata of a GGUF file says of a tokenizer.json, beside its tokens.
type ggufParts struct {
	Model struct {
		Merges       []json.RawMessage `json:"merges"`
		IgnoreMerges bool              `json:"ignore_merges"`
	} `json:"model"`
	Normalizer   json.RawMessage `json:"normalizer"`
	PreTokenizer json.RawMessage `json:"pre_tokenizer"`
}

// GGUFMeta is the metadata of a GGUF file about the tokenizer in a model's folder, the reverse of [GGUFFiles]: rows is how many rows the
// embedding has, ends are the ids that end a text. A tokenizer that llama.cpp has no equal of is an error, and so is one that gives other
// ids when it is read back from the metadata, for a sample of texts and each of its own tokens.
func GGUFMeta(dir string, rows int, ends []int32) (gguf.Meta, error) {
	tk, err := Load(dir)
	if err != nil {
		return nil, err
	}
	f := tk.(*Fast)
	path := filepath.Join(dir, "tokenizer.json")
	raw, err := storage.ReadSmall(path, storage.KindTokenizer)
	if err != nil {
		return nil, err
	}
	var parts ggufParts
	if err := storage.Unmarshal(raw, &parts); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m, err := f.ggufMeta(&parts, rows, ends)
	if err == nil {
		err = f.ggufSame(m)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func (f *Fast) ggufMeta(parts *ggufParts, rows int, ends []int32) (gguf.Meta, error) {
	b, ok := f.model.(*bpe)
	switch {
	case !ok:
		return nil, errors.New("the tokenizer is not a BPE one: GGUF files hold tokenizers of byte-level BPE and of SentencePiece's BPE")
	case len(f.byID) > rows:
		return nil, fmt.Errorf("it has ids up to %d, and the model's embedding %d rows", len(f.byID)-1, rows)
	}
	var m gguf.Meta
	set := func(key string, v any) { m.Set("tokenizer.ggml."+key, v) }
	merges, err := parts.merges()
	if err != nil {
		return nil, err
	}
	if b.byteLevel {
		pre, err := parts.pre()
		if err != nil {
			return nil, err
		}
		set("model", "gpt2")
		set("pre", pre)
	} else {
		prefix, err := parts.sentencePiece(b)
		if err != nil {
			return nil, err
		}
		set("model", "llama")
		set("pre", "default")
		set("add_space_prefix", prefix)
	}
	tokens, types := f.ggufTokens(b, rows)
	set("tokens", tokens)
	if b.byteLevel {
		set("token_type", types)
		lines := make([]string, len(merges))
		for i, p := range merges {
			lines[i] = strings.ReplaceAll(p[0], " ", "Ġ") + " " + strings.ReplaceAll(p[1], " ", "Ġ")
		}
		set("merges", lines)
	} else {
		set("scores", ggufScores(tokens, types, merges))
		set("token_type", types)
	}
	return m, f.ggufSpecial(set, ends)
}

// ggufSpecial adds the ids of special tokens and what stands around a text.
func (f *Fast) ggufSpecial(set func(key string, v any), ends []int32) error {
	bos, eos, pad, unk := f.Special()
	if !slices.Contains(ends, eos) && len(ends) > 0 {
		eos = ends[0]
	}
	for _, s := range []struct {
		key string
		id  int32
	}{{"bos", bos}, {"eos", eos}, {"unknown", unk}, {"padding", pad}} {
		if s.id >= 0 {
			set(s.key+"_token_id", uint32(s.id))
		}
	}
	more := []string{"eot", "eom"}
	for _, id := range ends {
		if id != eos && len(more) > 0 {
			set(more[0]+"_token_id", uint32(id))
			more = more[1:]
		}
	}
	before, after := f.Around()
	if len(before) > 1 || len(after) > 1 || len(before) == 1 && before[0] != bos || len(after) == 1 && after[0] != eos {
		return fmt.Errorf("it puts the tokens %v before a text and %v behind it, where llama.cpp has bos_token and eos_token alone",
			before, after)
	}
	set("add_bos_token", len(before) == 1)
	set("add_eos_token", len(after) == 1)
	return nil
}

// merges are the pairs, of either form that files have.
func (p *ggufParts) merges() ([][2]string, error) {
	out := make([][2]string, len(p.Model.Merges))
	for i, raw := range p.Model.Merges {
		var line string
		if json.Unmarshal(raw, &out[i]) == nil {
			continue
		}
		if err := json.Unmarshal(raw, &line); err != nil {
			return nil, fmt.Errorf("merge %d: %w", i, err)
		}
		a, b, ok := strings.Cut(line, " ")
		if !ok {
			return nil, fmt.Errorf("merge %d is %q", i, line)
		}
		out[i] = [2]string{a, b}
	}
	return out, nil
}

// ggufStep is a step of a pre-tokenizer or a normaliser.
type ggufStep struct {
	Type          string                         `json:"type"`
	Pretokenizers []ggufStep                     `json:"pretokenizers"`
	Normalizers   []ggufStep                     `json:"normalizers"`
	Pattern       struct{ Regex, String string } `json:"pattern"`
	Behavior      string                         `json:"behavior"`
	Invert        bool                           `json:"invert"`
	Individual    bool                           `json:"individual_digits"`
	Prefix        bool                           `json:"add_prefix_space"`
	UseRegex      *bool                          `json:"use_regex"`
	Prepend       string                         `json:"prepend"`
	Content       string                         `json:"content"`
	Scheme        string                         `json:"prepend_scheme"`
	Split         *bool                          `json:"split"`
}

// ggufSteps are those of a component, one after another.
func ggufSteps(raw json.RawMessage) ([]ggufStep, error) {
	var s ggufStep
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	if s.Type == "Sequence" {
		return append(s.Pretokenizers, s.Normalizers...), nil
	}
	return []ggufStep{s}, nil
}

// pre is the name of llama.cpp's pre-tokenizer that splits as the file's does.
func (p *ggufParts) pre() (string, error) {
	norm, err := ggufSteps(p.Normalizer)
	if err != nil {
		return "", err
	}
	for _, s := range norm {
		if s.Type != "NFC" { // which llama.cpp leaves out
			return "", fmt.Errorf("its normalizer %s is none that llama.cpp has", s.Type)
		}
	}
	steps, err := ggufSteps(p.PreTokenizer)
	if err != nil {
		return "", err
	}
	var splits []string
	for _, s := range steps {
		switch {
		case s.Type == "Split" && s.Pattern.Regex != "" && s.Behavior == "Isolated" && !s.Invert:
			splits = append(splits, s.Pattern.Regex)
		case s.Type == "Digits" && s.Individual:
			splits = append(splits, patternDigit)
		case s.Type == "ByteLevel" && !s.Prefix:
			if s.UseRegex == nil || *s.UseRegex {
				splits = append(splits, patternGPT2)
			}
		default:
			return "", fmt.Errorf("its pre_tokenizer has %s with settings that llama.cpp has no equal of", s.Type)
		}
	}
	name := ""
	for _, row := range ggufPres {
		if slices.Equal(row.splits, splits) && (name == "" || row.ignore == p.Model.IgnoreMerges) {
			if name = row.names[0]; row.ignore == p.Model.IgnoreMerges {
				return name, nil
			}
		}
	}
	if name == "" {
		return "", fmt.Errorf("its pre_tokenizer splits by %q, which none of llama.cpp's does that are known: %s", splits,
			GGUFPreTokenizers())
	}
	return name, nil
}

// sentencePiece says whether a space goes before a text.
func (p *ggufParts) sentencePiece(b *bpe) (prefix bool, err error) {
	if !b.byteFallback {
		return false, errors.New("it is a BPE of characters without byte_fallback, which llama.cpp does not have")
	}
	norm, err := ggufSteps(p.Normalizer)
	if err != nil {
		return false, err
	}
	pre, err := ggufSteps(p.PreTokenizer)
	if err != nil {
		return false, err
	}
	spaces := false
	for _, s := range append(norm, pre...) {
		switch {
		case s.Type == "Prepend" && s.Prepend == string(metaRune):
			prefix = true
		case s.Type == "Replace" && s.Pattern.String == " " && s.Content == string(metaRune):
			spaces = true
		case s.Type == "Metaspace" && (s.Split == nil || !*s.Split):
			spaces, prefix = true, s.Scheme != "never"
		case s.Type == "Split" && s.Pattern.String == " " && s.Behavior == "MergedWithPrevious": // none is left
		default:
			return false, fmt.Errorf("it has %s with settings that SentencePiece has no equal of", s.Type)
		}
	}
	if !spaces {
		return false, errors.New("it does not write spaces as ▁, as SentencePiece does")
	}
	return prefix, nil
}

// ggufTokens are the tokens by their ids, and their types.
func (f *Fast) ggufTokens(b *bpe, rows int) (tokens []string, types []int32) {
	tokens, types = make([]string, rows), make([]int32, rows)
	for id := range tokens {
		if id >= len(f.byID) || !f.known[id] {
			tokens[id], types[id] = "[PAD"+strconv.Itoa(id)+"]", ggufUnused
			continue
		}
		tokens[id], types[id] = f.byID[id], ggufNormal
		if !b.byteLevel && len(tokens[id]) == 6 && strings.HasPrefix(tokens[id], "<0x") && tokens[id][5] == '>' {
			types[id] = ggufByte
		}
	}
	for _, a := range f.added {
		types[a.id] = ggufUserDefined
		if a.special {
			types[a.id] = ggufControl
		} else if !b.byteLevel {
			tokens[a.id] = strings.ReplaceAll(a.content, string(metaRune), " ")
		}
	}
	if b.unk >= 0 && !b.byteLevel {
		types[b.unk] = ggufUnknown
	}
	return tokens, types
}

// ggufScores are the scores by which SentencePiece merges: the later a token is merged, the lower.
func ggufScores(tokens []string, types []int32, merges [][2]string) []float32 {
	rank := make(map[string]int, len(merges))
	for i, p := range merges {
		if _, ok := rank[p[0]+p[1]]; !ok {
			rank[p[0]+p[1]] = i
		}
	}
	scores := make([]float32, len(tokens))
	for id, t := range tokens {
		if r, ok := rank[t]; ok {
			scores[id] = -float32(r)
		} else if types[id] == ggufNormal {
			scores[id] = -float32(len(merges) + id)
		}
	}
	return scores
}

// ggufSample is a text with what tokenizers differ in.
const ggufSample = "The café's naïve Größe: it's 3 o'clock, WE'LL pay $1,234,567.89!\n\n\t  def f(x):\r\n    return x ** 2  # ok?   \n" +
	"你好，世界。これは日本語です。 한국어 문장 ไทย Привет мир, שלום! 🚀 (normal) 😶‍🌫️ 1 12 123 1234 ½ x\u00a0y\n \n\n \n\n\n end "

// ggufSame reads the tokenizer back and compares ids.
func (f *Fast) ggufSame(m gguf.Meta) error {
	files, err := GGUFFiles(m)
	if err != nil {
		return err
	}
	g, err := Parse(files["tokenizer.json"])
	if err != nil {
		return err
	}
	texts := append(strings.SplitAfter(ggufSample, "。"), ggufSample)
	var all strings.Builder
	for id := range f.byID {
		if _, added := f.addedIDs[f.byID[id]]; f.known[id] && !added && !slices.Contains(ggufEnds, f.byID[id]) {
			text := f.Decode([]int32{int32(id)}, false)
			if all.WriteString(text + "\n " + text + "\n"); all.Len() > 1<<12 {
				texts = append(texts, all.String())
				all.Reset()
			}
		}
	}
	for _, text := range append(texts, all.String()) {
		text = norm.NFC.String(strings.ToValidUTF8(text, "")) // what llama.cpp leaves out
		want, err := f.AppendIDs(nil, text, true)
		if err != nil {
			return err
		}
		got, err := g.AppendIDs(nil, text, true)
		if err != nil {
			return err
		}
		if !slices.Equal(got, want) {
			at := 0
			for at < len(got) && at < len(want) && got[at] == want[at] {
				at++
			}
			return fmt.Errorf("llama.cpp would give other ids: %q becomes %v where this tokenizer gives %v",
				clip(f.Decode(want[at:min(at+4, len(want))], false)), got[at:min(at+4, len(got))], want[at:min(at+4, len(want))])
		}
	}
	return nil
}

func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
