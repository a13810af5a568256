package tokenize

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
)

// tokenCase is one text and what Hugging Face tokenizers gives for it.
type tokenCase struct {
	ID          string     `json:"id"`
	Text        string     `json:"text"`
	IDs         []int32    `json:"ids"`
	Offsets     [][2]int32 `json:"offsets"`
	IDsSpecial  []int32    `json:"ids_special"`
	SpecialMask []uint8    `json:"special_mask"`
	Decode      *string    `json:"decode"`
	DecodeSkip  *string    `json:"decode_skip"`
}

// exact are the families whose every case must be equal.
var exact = []string{"bert", "falcon", "gpt2", "llama2", "llama3", "mistral3", "neox", "phi3", "qwen2.5", "roberta", "t5"}

func readAll(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if filepath.Ext(path) == ".gz" {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func loadFamily(t testing.TB, dir string) (*Fast, []tokenCase, error) {
	t.Helper()
	path := filepath.Join(dir, "tokenizer.json")
	if _, err := os.Stat(path); err != nil {
		path += ".gz"
	}
	f, err := Parse(readAll(t, path))
	if err != nil {
		return nil, nil, err
	}
	var cases []tokenCase
	s := bufio.NewScanner(bytes.NewReader(readAll(t, filepath.Join(dir, "cases.jsonl.gz"))))
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		var c tokenCase
		if err := json.Unmarshal(s.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	return f, cases, s.Err()
}

func check(t *testing.T, f *Fast, c *tokenCase) (ok bool) {
	fail := func(what string, got, want any) {
		ok = false
		t.Logf("%s: %s of %.80q: %.200v, want %.200v", c.ID, what, c.Text, got, want)
	}
	ok = true
	e, err := f.Encode(c.Text, false)
	if err != nil {
		fail("encoding", err, nil)
		return ok
	}
	if !slices.Equal(e.IDs, c.IDs) {
		fail("ids", e.IDs, c.IDs)
		return ok
	}
	if !slices.Equal(e.Offsets, c.Offsets) {
		fail("offsets", e.Offsets, c.Offsets)
	}
	if ids, err := f.AppendIDs(nil, c.Text, true); err != nil || !slices.Equal(ids, c.IDsSpecial) {
		fail("ids with special tokens", ids, c.IDsSpecial)
	}
	if e, _ := f.Encode(c.Text, true); c.SpecialMask != nil && !slices.Equal(e.SpecialMask, c.SpecialMask) {
		fail("special mask", e.SpecialMask, c.SpecialMask)
	}
	if c.Decode != nil {
		if got := f.Decode(c.IDsSpecial, false); got != *c.Decode {
			fail("decoded text", got, *c.Decode)
		}
	}
	if c.DecodeSkip != nil {
		if got := f.Decode(c.IDsSpecial, true); got != *c.DecodeSkip {
			fail("decoded text without special tokens", got, *c.DecodeSkip)
		}
	}
	return ok
}

// TestConformance compares ids, offsets and decoded text with Hugging Face tokenizers, over the folder of families that
// ADAPTFLOW_TOKENIZERS names or the copies in testdata.
func TestConformance(t *testing.T) {
	root := filepath.Join("testdata", "families")
	if dir := os.Getenv("ADAPTFLOW_TOKENIZERS"); dir != "" {
		root = golden.Resolve(t, dir)
	}
	total, ran := 0, 0
	var out []string
	for _, name := range golden.Dirs(t, root) {
		f, cases, err := loadFamily(t, filepath.Join(root, name))
		if err != nil {
			if slices.Contains(exact, name) {
				t.Errorf("%s: %v", name, err)
			}
			out = append(out, name+" ("+err.Error()+")")
			continue
		}
		good := 0
		for i := range cases {
			if check(t, f, &cases[i]) {
				good++
			}
		}
		ran, total = ran+good, total+len(cases)
		t.Logf("%s: %d of %d cases equal", name, good, len(cases))
		if good != len(cases) {
			t.Errorf("%s: %d of %d cases differ", name, len(cases)-good, len(cases))
		}
	}
	t.Logf("tokenizers: %d of %d cases equal; out of scope: %v", ran, total, out)
	if total == 0 {
		t.Error("no case ran")
	}
}

// TestGoldenTokenizer compares with the small tokenizer of the golden data.
func TestGoldenTokenizer(t *testing.T) {
	dir := filepath.Join(golden.Root(t, "testdata"), "tokenizer")
	f, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	cases := golden.JSON[[]struct {
		Text    string  `json:"text"`
		IDs     []int32 `json:"ids"`
		Decoded string  `json:"decoded"`
	}](t, filepath.Join(dir, "expected.json"))
	for _, c := range cases {
		ids, err := f.AppendIDs(nil, c.Text, false)
		if err != nil || !slices.Equal(ids, c.IDs) {
			t.Errorf("%q: ids %v, want %v (%v)", c.Text, ids, c.IDs, err)
		}
		if got := f.Decode(c.IDs, false); got != c.Decoded {
			t.Errorf("%v: decoded %q, want %q", c.IDs, got, c.Decoded)
		}
	}
}

func TestSugarmeAgreesOnPlainText(t *testing.T) {
	dir := filepath.Join("testdata", "tokenizer")
	a, err := LoadEngine(dir, EngineFast)
	if err != nil {
		t.Fatal(err)
	}
	b, err := LoadEngine(dir, EngineSugarme)
	if err != nil {
		t.Fatal(err)
	}
	if a.Hash() != b.Hash() || a.VocabSize() != b.VocabSize() {
		t.Errorf("hash %s and %s, vocabulary %d and %d", a.Hash(), b.Hash(), a.VocabSize(), b.VocabSize())
	}
	for _, text := range []string{"Hello world", "Classify if the tweet is a complaint or not:"} {
		x, _ := a.AppendIDs(nil, text, false)
		y, err := b.AppendIDs(nil, text, false)
		if err != nil || !slices.Equal(x, y) {
			t.Errorf("%q: %v and %v (%v)", text, x, y, err)
		}
		if got := b.Decode(y, true); got != text {
			t.Errorf("%q decoded to %q", text, got)
		}
	}
	if _, err := LoadEngine(dir, "other"); err == nil {
		t.Error("an unknown engine was accepted")
	}
}

func TestTokenizersAreSafeForConcurrentUse(t *testing.T) {
	f, cases, err := loadFamily(t, filepath.Join("testdata", "families", "gpt2"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range cases {
				if ids, err := f.AppendIDs(nil, cases[i].Text, false); err != nil || !slices.Equal(ids, cases[i].IDs) {
					t.Errorf("%s: other ids under concurrency", cases[i].ID)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzRoundTrip(f *testing.F) {
	tk, cases, err := loadFamily(f, filepath.Join("testdata", "families", "gpt2"))
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range cases[:10] {
		f.Add(c.Text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := tk.Encode(text, false)
		if err != nil {
			return // not UTF-8
		}
		if got := tk.Decode(e.IDs, false); got != text {
			t.Fatalf("%q came back as %q", text, got)
		}
		for i := 1; i < len(e.Offsets); i++ {
			if e.Offsets[i][0] < e.Offsets[i-1][0] || e.Offsets[i][1] < e.Offsets[i][0] {
				t.Fatalf("offsets go back: %v", e.Offsets)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	f, cases, err := loadFamily(b, filepath.Join("testdata", "families", "gpt2"))
	if err != nil {
		b.Fatal(err)
	}
	text := ""
	for _, c := range cases {
		text += c.Text + "\n"
	}
	if path := os.Getenv("ADAPTFLOW_TEXT"); path != "" {
		text = string(readAll(b, path))
	}
	b.SetBytes(int64(len(text)))
	var ids []int32
	for b.Loop() {
		ids, _ = f.AppendIDs(ids[:0], text, false)
	}
}
