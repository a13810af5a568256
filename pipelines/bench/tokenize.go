package bench

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/tokenize"
)

// TokenizeConfig says what `adaptflow bench tokenize` measures: encoding the documents of files.
type TokenizeConfig struct {
	Tokenizer string   // folder, or embedded:NAME
	Engine    string   // "" for the exact one
	Input     []string // text, JSONL or Parquet, plain or compressed
	TextMode  string   // what is a document of a text file
	Offsets   bool     // offsets too
	Repeat    int      // passes over the text; the median counts
	Threads   int      // documents encoded at once; 0 is 1
}

// TokenizeResult is what was measured.
type TokenizeResult struct {
	Documents       int       `json:"documents"`
	Bytes           int64     `json:"bytes"`
	Tokens          int64     `json:"tokens"`
	MBPerSecond     float64   `json:"mb_per_second"` // 10⁶ bytes a second, of the median pass
	TokensPerSecond float64   `json:"tokens_per_second"`
	Seconds         []float64 `json:"seconds"`    // of each pass; the first begins with an empty cache
	IDsSHA256       string    `json:"ids_sha256"` // of all ids, 4 bytes each, little endian
	Engine          string    `json:"engine"`
	Offsets         bool      `json:"offsets"`
	Threads         int       `json:"threads"`
}

// Tokenize reads the documents into memory and encodes them.
func Tokenize(c TokenizeConfig) (*TokenizeResult, error) {
	dir, err := assets.Resolve(c.Tokenizer)
	if err != nil {
		return nil, err
	}
	if st, err := os.Stat(dir); err == nil && !st.IsDir() {
		dir = filepath.Dir(dir)
	}
	t, err := tokenize.LoadEngine(dir, tokenize.Engine(c.Engine))
	if err != nil {
		return nil, err
	}
	files, err := assets.ResolveAll(c.Input)
	if err != nil {
		return nil, err
	}
	texts, err := documents(files, c.TextMode)
	if err != nil {
		return nil, err
	}
	r := &TokenizeResult{Documents: len(texts), Engine: c.Engine, Offsets: c.Offsets}
	if r.Engine == "" {
		r.Engine = "exact"
	}
	for _, s := range texts {
		r.Bytes += int64(len(s))
	}
	r.Threads = max(c.Threads, 1)
	for range max(c.Repeat, 1) {
		start := time.Now()
		if r.Tokens, err = encodeAll(t, texts, c.Offsets, r.Threads); err != nil {
			return nil, err
		}
		r.Seconds = append(r.Seconds, time.Since(start).Seconds())
	}
	if r.IDsSHA256, err = hashIDs(t, texts); err != nil {
		return nil, err
	}
	mid := slices.Sorted(slices.Values(r.Seconds))[len(r.Seconds)/2]
	r.MBPerSecond, r.TokensPerSecond = float64(r.Bytes)/1e6/mid, float64(r.Tokens)/mid
	return r, nil
}

// encodeAll encodes the texts, each thread the next one that is left, and counts the tokens.
func encodeAll(t tokenize.Tokenizer, texts []string, offsets bool, threads int) (int64, error) {
	var next, tokens atomic.Int64
	errs := make([]error, threads)
	var wg sync.WaitGroup
	for k := range threads {
		wg.Go(func() {
			var ids []int32
			for i := next.Add(1) - 1; i < int64(len(texts)) && errs[k] == nil; i = next.Add(1) - 1 {
				if offsets {
					e, err := t.Encode(texts[i], true)
					if err == nil {
						tokens.Add(int64(len(e.IDs)))
					}
					errs[k] = err
					continue
				}
				ids, errs[k] = t.AppendIDs(ids[:0], texts[i], true)
				tokens.Add(int64(len(ids)))
			}
		})
	}
	wg.Wait()
	return tokens.Load(), errors.Join(errs...)
}

// hashIDs encodes the texts once more, outside the clock, so that a measurement tells whether two tokenizers give the same ids.
func hashIDs(t tokenize.Tokenizer, texts []string) (string, error) {
	h := sha256.New()
	var ids []int32
	var raw []byte
	for _, s := range texts {
		var err error
		if ids, err = t.AppendIDs(ids[:0], s, true); err != nil {
			return "", err
		}
		raw = raw[:0]
		for _, id := range ids {
			raw = binary.LittleEndian.AppendUint32(raw, uint32(id))
		}
		h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// documents reads the texts of files; a record that cannot be read is an error here.
func documents(files []string, mode string) ([]string, error) {
	var out []string
	if err := datasets.EachText(files, mode, func(text string) error { out = append(out, text); return nil }); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%v: there is no text in it", files)
	}
	return out, nil
}
