package tokenize

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"
)

// TestGoldenBPETraining compares tokens, ids and merges with Hugging Face tokenizers' BpeTrainer on the same texts.
func TestGoldenBPETraining(t *testing.T) {
	var cases []struct {
		Name      string      `json:"name"`
		Texts     []string    `json:"texts"`
		Merges    [][2]string `json:"merges"`
		Vocab     []string    `json:"vocab"`
		VocabSize int         `json:"vocab_size"`
		MinFreq   int         `json:"min_frequency"`
		Special   []string    `json:"special_tokens"`
	}
	if err := json.Unmarshal(readAll(t, filepath.Join("testdata", "training", "bpe_training.json.gz")), &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		f := ByteLevel()
		counts, half := CountWords(f), CountWords(f)
		for i, text := range c.Texts {
			into := counts
			if i%2 == 1 {
				into = half
			}
			if err := into.Add(text); err != nil {
				t.Fatal(err)
			}
		}
		counts.Merge(half)
		data, err := BPETraining{VocabSize: c.VocabSize, MinFrequency: c.MinFreq, SpecialTokens: c.Special}.Train(counts)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		var got struct {
			Model struct {
				Vocab  map[string]int32
				Merges [][2]string
			}
		}
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Model.Merges, c.Merges) {
			for i := range min(len(got.Model.Merges), len(c.Merges)) {
				if got.Model.Merges[i] != c.Merges[i] {
					t.Errorf("%s: merge %d is %q, want %q", c.Name, i, got.Model.Merges[i], c.Merges[i])
					break
				}
			}
			t.Errorf("%s: %d merges, want %d", c.Name, len(got.Model.Merges), len(c.Merges))
		}
		for id, tok := range c.Vocab {
			if got.Model.Vocab[tok] != int32(id) {
				t.Errorf("%s: token %q has id %d, want %d", c.Name, tok, got.Model.Vocab[tok], id)
			}
		}
		if len(got.Model.Vocab) != len(c.Vocab) {
			t.Errorf("%s: %d tokens, want %d", c.Name, len(got.Model.Vocab), len(c.Vocab))
		}
		trained, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range c.Texts {
			if ids, err := trained.AppendIDs(nil, text, false); err != nil || trained.Decode(ids, false) != text {
				t.Errorf("%s: a text did not come back (%v)", c.Name, err)
			}
		}
	}
	t.Logf("BPE training: %d cases", len(cases))
}

// TestExtend: fewer tokens for the new text, each new token named by its pieces, the old ids as they were.
func TestExtend(t *testing.T) {
	file := readAll(t, filepath.Join("testdata", "families", "gpt2", "tokenizer.json.gz"))
	f, err := Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	text := "Größere Straßen führen über Brücken; die Straßen und die Brücken führen größere Lasten über die Flüsse."
	c := CountWords(f)
	for range 3 {
		if err := c.Add(text); err != nil {
			t.Fatal(err)
		}
	}
	e, err := Extend(file, c, 20, 2)
	if err != nil {
		t.Fatal(err)
	}
	g, err := Parse(e.File)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := f.AppendIDs(nil, text, false)
	after, _ := g.AppendIDs(nil, text, false)
	if len(e.Tokens) != 18 || len(after) >= len(before) || g.Decode(after, false) != text || g.VocabSize() != f.VocabSize()+18 {
		t.Errorf("%d new tokens, %d ids after %d, vocabulary %d after %d", len(e.Tokens), len(after), len(before),
			g.VocabSize(), f.VocabSize())
	}
	for i, x := range e.Tokens {
		if got, _ := g.IDToToken(x.ID); got != x.Text || x.ID != int32(f.VocabSize()+i) || len(x.Pieces) < 2 {
			t.Errorf("%+v: the file has %q", x, got)
		}
		if g.Decode([]int32{x.ID}, false) != f.Decode(x.Pieces, false) {
			t.Errorf("%+v: the pieces spell %q", x, f.Decode(x.Pieces, false))
		}
	}
	for id := range int32(f.VocabSize()) {
		a, _ := f.IDToToken(id)
		if b, _ := g.IDToToken(id); a != b {
			t.Errorf("id %d was %q and is %q", id, a, b)
		}
	}
	if _, err := Extend(file, CountWords(f), 5, 2); err == nil {
		t.Error("an empty corpus extended the vocabulary")
	}
}

// TestSerdeFloat: the digits as one number, divided: two roundings, where strconv has one.
func TestSerdeFloat(t *testing.T) {
	sig, pow, long := float64(20122928619384766), 1e16, float64(uint64(12345678901234567890))
	for s, want := range map[string]float64{
		"-2.0122928619384766": -sig / pow, "0": 0, "-0.5": -0.5, "12": 12, "1.5e3": 1500, "2E-2": 0.02,
		"123456789012345678901234": long * 1e4,
	} {
		if got := serdeFloat(s); got != want {
			t.Errorf("%s: %v, want %v", s, got, want)
		}
	}
}
