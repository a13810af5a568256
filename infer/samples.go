package infer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// sampleCache is the memory of the KV cache of samples.
const sampleCache = 256 << 20

// Samples continues each of the prompts n times, each time with random numbers of its own, and writes {"text": prompt and
// continuation} a line to the JSONL file to, the samples of a prompt together. told, if not nil, is called with the number of
// samples that are finished. The same prompts, n, settings and seed give the same file.
//
// Samples of a base beside other text keep what the base knows of kinds of text that the other text lacks (pseudo-rehearsal,
// Robins 1995; self-synthesized rehearsal, Huang et al. 2024, arXiv:2403.01244).
//
// empty says how many continuations show nothing, and why the last of them does; "" where all show something.
func (m *Model) Samples(ctx context.Context, prompts []string, n int, s evaluate.Sampling, to string,
	told func(done, of int)) (empty string, err error) {
	if n < 1 || len(prompts) == 0 {
		return "", errors.New("samples need a prompt and a number of at least 1")
	}
	if err := storage.CheckTarget(to); err != nil {
		return "", err
	}
	tk, _, err := m.Text()
	if err != nil {
		return "", err
	}
	stop, err := m.Stops()
	if err != nil {
		return "", err
	}
	most := m.Positions()
	var ids [][]int32
	for i, p := range prompts {
		x, err := m.Prompt(p)
		if err != nil {
			return "", err
		}
		if len(x) >= most {
			return "", fmt.Errorf("prompt %d has %d tokens; the model takes %d, with what is added", i+1, len(x), most)
		}
		for range n {
			ids = append(ids, x)
		}
	}
	done := 0
	out, err := m.Complete(ctx, ids, s, stop, sampleCache, func() {
		if done++; told != nil {
			told(done, len(ids))
		}
	})
	if err != nil {
		return "", err
	}
	f, err := storage.Create(to)
	if err != nil {
		return "", err
	}
	defer f.Abort()
	w := bufio.NewWriter(f)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	nothing, why := 0, ""
	for i, x := range out {
		if w := whyEmpty(tk, stop, x); w != "" {
			nothing, why = nothing+1, w
		}
		if err := e.Encode(map[string]string{"text": prompts[i/n] + tk.Decode(x, true)}); err != nil {
			return "", err
		}
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	if nothing > 0 {
		empty = fmt.Sprintf("%d of %d continuations show nothing; of the last, %s", nothing, len(out), why)
	}
	return empty, f.Commit()
}
