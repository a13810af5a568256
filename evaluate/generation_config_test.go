package evaluate

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
)

// TestGoldenGenerationConfig processes logits by generation_config.json as transformers does.
func TestGoldenGenerationConfig(t *testing.T) {
	root := filepath.Join("testdata", "generation_config")
	for _, name := range golden.Dirs(t, root) {
		g, err := ReadGenerationConfig(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		s := Sampling{MaxNewTokens: 8}
		g.Fill(&s, func(string) bool { return false })
		f := golden.Open(t, filepath.Join(root, name, "scores.safetensors"))
		c := Context{Prompt: 3, EOS: []int32{2}}
		if name == "greedy" || name == "sampled" {
			c.EOS = []int32{2, 5}
		}
		for _, id := range f.I64("input_ids") {
			c.Seen = append(c.Seen, int32(id))
		}
		got, want := f.F32("logits"), f.F32("scores")
		s.Process(got, c)
		changed := 0
		for i, w := range want {
			if math.IsInf(float64(w), -1) {
				changed++
			}
			if d := math.Abs(float64(got[i] - w)); got[i] != w && !(d < 1e-5) {
				t.Errorf("%s: token %d scores %g, want %g", name, i, got[i], w)
			}
		}
		if changed == 0 || s.DoSample == (name == "greedy") {
			t.Errorf("%s: %d tokens are ruled out, do_sample is %v", name, changed, s.DoSample)
		}
	}
}

// TestGenerationConfigGiven keeps what is given over what the file says.
func TestGenerationConfigGiven(t *testing.T) {
	read := func(text string) (*GenerationConfig, error) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, GenerationFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return ReadGenerationConfig(dir)
	}
	g,
		err := read(`{"do_sample": true, "temperature": 0.6, "top_p": 0.9, "max_new_tokens": 20, "repetition_penalty": 1.1, "num_beams": 4, "stop_strings": null, "guidance_scale": 1.0, "of_another_version": 3}`)
	if err != nil {
		t.Fatal(err)
	}
	if u := g.Unused(); !slices.Equal(u, []string{"num_beams"}) {
		t.Errorf("unused are %v", u)
	}
	given := func(names ...string) func(string) bool {
		return func(n string) bool { return slices.Contains(names, n) }
	}
	s := Sampling{MaxNewTokens: 64, TopP: 1}
	g.Fill(&s, given())
	if !s.DoSample || s.Temperature != 0.6 || s.TopK != 50 || s.TopP != 0.9 || s.MaxNewTokens != 20 || s.RepetitionPenalty != 1.1 {
		t.Errorf("nothing given: %+v", s)
	}
	s = Sampling{MaxNewTokens: 64, TopP: 1}
	g.Fill(&s, given("temperature", "max_new_tokens"))
	if s.DoSample || s.Temperature != 0 || s.MaxNewTokens != 64 {
		t.Errorf("a temperature of 0 given: %+v", s)
	}
	s = Sampling{MaxNewTokens: 64, TopK: 3, TopP: 1, DoSample: true, Temperature: 2}
	g.Fill(&s, given("temperature", "top_k", "top_p"))
	if !s.DoSample || s.Temperature != 2 || s.TopK != 3 || s.TopP != 1 {
		t.Errorf("given: %+v", s)
	}
	for text, want := range map[string]string{`{"top_p": 7}`: "top_p must be", `{"temperature": "hot"}`: "temperature",
		`[`:                                     "unexpected end",
		`{"do_sample": true, "temperature": 0}`: "temperature is 0",
		`{"do_sample": true, "temperature": 0.0, "top_k": 5}`: "temperature is 0",
		`{"do_sample": true, "typical_p": 0}`:                 "typical_p is 0", `{"repetition_penalty": 0}`: "repetition_penalty is 0",
		`{"do_sample": true, "repetition_penalty": 0.0}`: "repetition_penalty is 0", `{"max_new_tokens": 0}`: "max_new_tokens must be"} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), GenerationFile) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{`{"temperature": 0}`, `{"do_sample": false, "temperature": 0.0, "typical_p": 0}`,
		`{"do_sample": true, "min_p": 0, "top_k": 0, "epsilon_cutoff": 0, "eta_cutoff": 0, "no_repeat_ngram_size": 0, "min_new_tokens": 0}`} {
		if _, err := read(text); err != nil { // as transformers takes it
			t.Errorf("%s: %v", text, err)
		}
	}
	if g, err := ReadGenerationConfig(t.TempDir()); err != nil || g.DoSample != nil {
		t.Errorf("without a file: %+v, %v", g, err)
	}
}
