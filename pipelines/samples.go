package pipelines

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

// sampleSequences is the number of continuations that are generated at a time, at most; sampleCache and answerCache the memory of the KV cache of samples, and of the
// answers that an evaluation generates.
const (
	sampleSequences = 64
	sampleCache     = 256 << 20
	answerCache     = 32 << 20
)

// positions are those that a prompt and its continuation have, beside the adapters' virtual tokens.
func positions(m *model.Model, adapters []nn.Adapter) int {
	return m.Config.MaxPositions - nn.PromptOf(adapters).Positions()
}

// generator generates as many of n continuations at a time as a cache of so many bytes holds, one at least. The longest has so many tokens with its prompt, as far as the
// model has positions.
func generator(m *model.Model, adapters []nn.Adapter, params *nn.Params, p *pool.Pool, longest, n int, cache int64) (*evaluate.Generator, error) {
	room := min(positions(m, adapters), longest)
	g, err := evaluate.NewGenerator(m, adapters, params, p, m.Config.Vocab, room, 1)
	if err != nil {
		return nil, err
	}
	if n = min(sampleSequences, n, int(cache/max(g.CacheBytes(), 1))); n > 1 {
		g.Close()
		return evaluate.NewGenerator(m, adapters, params, p, m.Config.Vocab, room, n)
	}
	return g, nil
}

// ReadPrompts reads prompts: of a .jsonl file the field "prompt" of each line, of another file each line that is not empty.
func ReadPrompts(path string) ([]string, error) {
	raw, err := storage.ReadSmall(path, storage.KindPrompts)
	if err != nil {
		return nil, err
	}
	if f := datasets.Foreign(path, raw); f != nil {
		return nil, fmt.Errorf("%s is %s (by %s), not prompts: write one a line, or JSONL with the field \"prompt\"", path, f.Format, f.By)
	}
	var out []string
	for i, line := range bytes.Split(raw, []byte("\n")) {
		if line = bytes.TrimRight(line, "\r"); len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if !utf8.Valid(line) {
			return nil, fmt.Errorf("%s: line %d is not valid UTF-8: save the file in UTF-8", path, i+1)
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
	if err := storage.CheckTarget(to); err != nil {
		return err
	}
	tk, frame, err := l.tokenizer()
	if err != nil {
		return err
	}
	m := l.Model
	most := positions(m, l.Adapters)
	var ids [][]int32
	longest := 0
	for i, p := range prompts {
		x, err := promptIDs(m, frame, p)
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
	g, err := generator(m, l.Adapters, l.Params, l.Pool, longest+s.MaxNewTokens, len(ids), sampleCache)
	if err != nil {
		return err
	}
	defer g.Close()
	done, stop := 0, stopIDs(m, frame, len(l.Adapters) > 0)
	out, err := g.GenerateAll(ids, s, stop, func(_ int, _ int32, last bool) (bool, error) {
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
	l.Empty = ""
	empty, why := 0, ""
	for i, x := range out {
		if w := whyEmpty(tk, stop, x); w != "" {
			empty, why = empty+1, w
		}
		if err := e.Encode(map[string]string{"text": prompts[i/n] + tk.Decode(x, true)}); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if empty > 0 {
		l.Empty = fmt.Sprintf("%d of %d continuations show nothing; of the last, %s", empty, len(out), why)
	}
	return f.Commit()
}
