package vocabulary

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/tokenize"
)

// ExtendConfig says what `adaptflow tokenizer extend` does: tokens that a corpus has often and the model's vocabulary lacks.
type ExtendConfig struct {
	Model        string
	Input        []string
	TextMode     string
	Add          int // tokens, at most
	MinFrequency int
	Output       string // folder
}

// Extend writes the model with the new tokens in tokenizer.json and a row for each in the embedding and the head: the mean of the rows of
// the pieces that the old vocabulary makes of it. All else is as it was, and transformers opens the folder. The rows are trained by
// trainable_token_indices or modules_to_save.
func Extend(c ExtendConfig, say func(format string, a ...any)) (*Result, error) {
	dir, err := assets.Model(c.Model, say)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(c.Output, "config.json")); err == nil {
		return nil, fmt.Errorf("%w: %s already holds a model", storage.ErrInUse, c.Output)
	}
	file, err := storage.ReadSmall(filepath.Join(dir, "tokenizer.json"), storage.KindTokenizer)
	if err != nil {
		return nil, err
	}
	f, err := tokenize.Parse(file)
	if err != nil {
		return nil, fmt.Errorf("%s: tokenizer.json: %w", dir, err)
	}
	counts := tokenize.CountWords(f)
	n, err := countDocuments(c.Input, c.TextMode, counts)
	if err != nil {
		return nil, err
	}
	e, err := tokenize.Extend(file, counts, c.Add, c.MinFrequency)
	if err != nil {
		return nil, err
	}
	rows, err := resizeEmbeddings(dir, c.Output, e.Tokens)
	if err != nil {
		return nil, err
	}
	if err := storage.WriteShared(filepath.Join(c.Output, "tokenizer.json"), e.File); err != nil {
		return nil, err
	}
	first := int(e.Tokens[0].ID)
	r := &Result{Documents: n, Words: counts.Len(), VocabSize: first + len(e.Tokens), Added: len(e.Tokens), FirstID: first,
		Rows: rows, Output: c.Output}
	return r, writeConfig(dir, c.Output, rows)
}

// vocabTensors are the ends of the names of tensors with a row a token.
var vocabTensors = []string{"embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight", "lm_head.weight",
	"embed_out.weight", "lm_head.bias"}

// resizeEmbeddings copies the weights with rows for the new tokens and returns how many rows there are.
func resizeEmbeddings(dir, to string, tokens []tokenize.NewToken) (int, error) {
	config, err := readConfig(dir)
	if err != nil {
		return 0, err
	}
	if _, ok := config["quantization_config"]; ok {
		return 0, fmt.Errorf("%s is quantised: extend the model it was made from, and quantise after", dir)
	}
	var vocab int
	if err := json.Unmarshal(config["vocab_size"], &vocab); err != nil {
		return 0, fmt.Errorf("%s: config.json: vocab_size: %w", dir, err)
	}
	src, err := safetensors.OpenDir(dir)
	if err != nil {
		return 0, err
	}
	defer src.Close()
	rows := max(vocab, int(tokens[len(tokens)-1].ID)+1)
	resized := 0
	var ts []safetensors.Tensor
	for _, name := range src.Names() {
		info, _ := src.Info(name)
		if !hasRows(name) || len(info.Shape) == 0 || info.Shape[0] != vocab {
			raw, err := src.Bytes(name)
			if err != nil {
				return 0, err
			}
			ts = append(ts, safetensors.Tensor{Name: name, DType: info.DType, Shape: info.Shape, Raw: raw})
			continue
		}
		v, err := src.Float32(name)
		if err != nil {
			return 0, err
		}
		width := len(v) / vocab
		v = append(v, make([]float32, (rows-vocab)*width)...)
		for _, t := range tokens {
			row := v[int(t.ID)*width:][:width]
			for k := range row {
				sum := 0.0
				for _, p := range t.Pieces {
					sum += float64(v[int(p)*width+k])
				}
				row[k] = float32(sum / float64(len(t.Pieces)))
			}
		}
		shape := append([]int{rows}, info.Shape[1:]...)
		ts = append(ts, safetensors.Tensor{Name: name, DType: info.DType, Shape: shape, Data: v})
		resized++
	}
	if resized == 0 {
		return 0, fmt.Errorf("%s: no tensor named like %s has %d rows, one a token", dir, strings.Join(vocabTensors, ", "), vocab)
	}
	if err := storage.MkdirShared(to); err != nil {
		return 0, err
	}
	return rows, safetensors.WriteShared(filepath.Join(to, "model.safetensors"), ts, map[string]string{"format": "pt"})
}

func hasRows(name string) bool {
	for _, s := range vocabTensors {
		if name == s || strings.HasSuffix(name, "."+s) {
			return true
		}
	}
	return false
}

func readConfig(dir string) (map[string]json.RawMessage, error) {
	raw, err := storage.ReadSmall(filepath.Join(dir, "config.json"), storage.KindConfig)
	if err != nil {
		return nil, err
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("%s: config.json: %w", dir, err)
	}
	return m, nil
}

// writeConfig copies the folder's small files and, last, config.json with the new number of rows. Vocabularies in other formats, which know
// nothing of the new tokens, stay behind.
func writeConfig(dir, to string, rows int) error {
	for _, f := range []string{"tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "chat_template.jinja"} {
		raw, err := storage.ReadSmall(filepath.Join(dir, f), storage.KindTokenizer)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = storage.WriteShared(filepath.Join(to, f), raw)
		}
		if err != nil {
			return err
		}
	}
	config, err := readConfig(dir)
	if err != nil {
		return err
	}
	config["vocab_size"], _ = json.Marshal(rows)
	raw, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	return storage.WriteShared(filepath.Join(to, "config.json"), append(raw, '\n'))
}
