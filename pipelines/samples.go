package pipelines

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/tokenize"
)

// sampleSequences is the number of samples that are drawn at a time, at most; sampleCache the memory of their KV cache.
const (
	sampleSequences = 64
	sampleCache     = 256 << 20
)

// ReadPrompts reads prompts: of a .jsonl file the field "prompt" of each line, of another file each line that is not empty.
func ReadPrompts(path string) ([]string, error) {
	raw, err := storage.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []string
	for i, line := range bytes.Split(raw, []byte("\n")) {
		if line = bytes.TrimRight(line, "\r"); len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if filepath.Ext(path) != ".jsonl" {
			out = append(out, string(line))
			continue
		}
		var row struct {
			Prompt *string `json:"prompt"`
		}
		if err := json.Unmarshal(line, &row); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, i+1, err)
		}
		if row.Prompt == nil {
			return nil, fmt.Errorf("%s: line %d has no field \"prompt\"", path, i+1)
		}
		out = append(out, *row.Prompt)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no prompt", path)
	}
	return out, nil
}

// Samples continues each of the prompts n times, each time with random numbers of its own, and writes {"text": prompt and continuation} a line to the
// JSONL file to, the samples of a prompt together. told, if not nil, is called with the number of samples that are finished. The same prompts, n,
// settings and seed give the same file.
//
// Samples of a base beside other text keep what the base knows of kinds of text that the other text lacks (pseudo-rehearsal, Robins 1995;
// self-synthesized rehearsal, Huang et al. 2024, arXiv:2403.01244).
func (l *Loaded) Samples(ctx context.Context, prompts []string, n int, s evaluate.Sampling, to string, told func(done, of int)) error {
	if n < 1 || len(prompts) == 0 {
		return errors.New("samples need a prompt and a number of at least 1")
	}
	tk, err := tokenize.Load(l.Dir)
	if err != nil {
		return err
	}
	m := l.Model
	most := m.Config.MaxPositions - nn.PromptOf(l.Adapters).Positions()
	var ids [][]int32
	longest := 0
	for i, p := range prompts {
		x, err := promptIDs(m, tk, p)
		if err != nil {
			return err
		}
		if len(x) >= most {
			return fmt.Errorf("prompt %d has %d tokens; the model takes %d, with what is added", i+1, len(x), most)
		}
		for range n {
			ids = append(ids, x)
		}
		longest = max(longest, len(x))
	}
	room := min(most, longest+s.MaxNewTokens)
	g, err := evaluate.NewGenerator(m, l.Adapters, l.Params, l.Pool, m.Config.Vocab, room, 1)
	if err != nil {
		return err
	}
	if n := min(sampleSequences, len(ids), int(sampleCache/max(g.CacheBytes(), 1))); n > 1 {
		g.Close()
		if g, err = evaluate.NewGenerator(m, l.Adapters, l.Params, l.Pool, m.Config.Vocab, room, n); err != nil {
			return err
		}
	}
	defer g.Close()
	done := 0
	out, err := g.GenerateAll(ids, s, m.Config.EOS, func(_ int, _ int32, last bool) (bool, error) {
		if last && told != nil {
			done++
			told(done, len(ids))
		}
		return true, ctx.Err()
	})
	if err != nil {
		return err
	}
	f, err := storage.Create(to)
	if err != nil {
		return err
	}
	defer f.Abort()
	w := bufio.NewWriter(f)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for i, x := range out {
		if err := e.Encode(map[string]string{"text": prompts[i/n] + tk.Decode(x, true)}); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Commit()
}
