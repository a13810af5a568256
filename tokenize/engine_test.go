package tokenize

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

// base is the small tokenizer.json as a map, to be changed by tests.
func base(t testing.TB) map[string]json.RawMessage {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(readAll(t, filepath.Join("testdata", "tokenizer", "tokenizer.json")), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func parseMap(t testing.TB, m map[string]json.RawMessage) (*Fast, error) {
	t.Helper()
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return Parse(raw)
}

// outOfScope are variants in which the engine is known to differ, and why.
var outOfScope = map[string]string{}

// TestConformanceVariants puts other components into a tokenizer.json: flags of added tokens, patterns without a scanner, behaviours,
// normalizers.
func TestConformanceVariants(t *testing.T) {
	var variants []struct {
		Name  string
		Patch map[string]json.RawMessage
		Cases []tokenCase
	}
	if err := json.Unmarshal(readAll(t, filepath.Join("testdata", "variants", "variants.json.gz")), &variants); err != nil {
		t.Fatal(err)
	}
	ran := 0
	var out []string
	for _, v := range variants {
		if why := outOfScope[v.Name]; why != "" {
			out = append(out, v.Name+" ("+why+")")
			continue
		}
		m := base(t)
		for k, p := range v.Patch {
			m[k] = p
		}
		f, err := parseMap(t, m)
		if err != nil && strings.Contains(err.Error(), "is not supported (supported:") {
			out = append(out, v.Name+" ("+err.Error()+")")
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		ran++
		for _, c := range v.Cases {
			e, err := f.Encode(c.Text, true)
			if err != nil {
				t.Errorf("%s: %q: %v", v.Name, c.Text, err)
				continue
			}
			if !slices.Equal(e.IDs, c.IDs) {
				t.Errorf("%s: %q: ids %v, want %v", v.Name, c.Text, e.IDs, c.IDs)
			} else if !slices.Equal(e.Offsets, c.Offsets) {
				t.Errorf("%s: %q: offsets %v, want %v", v.Name, c.Text, e.Offsets, c.Offsets)
			}
			if ids, err := f.AppendIDs(nil, c.Text, true); err != nil || !slices.Equal(ids, c.IDs) {
				t.Errorf("%s: %q: ids alone %v, want %v (%v)", v.Name, c.Text, ids, c.IDs, err)
			}
		}
	}
	t.Logf("variants: %d of %d equal; out of scope: %v", ran, len(variants), out)
	if ran < 30 {
		t.Errorf("only %d variants ran", ran)
	}
}

// TestStrictLoader: what the engine does not have is an error that names it.
func TestStrictLoader(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"normalizer", `{"type":"Nonesuch"}`, `normalizer: type "Nonesuch"`},
		{"normalizer", `{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Odd"}]}`, `normalizer.normalizers[1]: type "Odd"`},
		{"normalizer", `{"type":"NFC","extra":1}`, "normalizer.extra"},
		{"pre_tokenizer", `{"type":"Nonesuch"}`, `pre_tokenizer: type "Nonesuch"`},
		{"pre_tokenizer", `{"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated","invert":false}`, "pre_tokenizer.pattern"},
		{"pre_tokenizer", `{"type":"Split","pattern":{"Regex":"a"},"behavior":"Sideways","invert":false}`, "Sideways"},
		{"pre_tokenizer", `{"type":"ByteLevel","add_prefix_space":false,"later":true}`, "pre_tokenizer.later"},
		{"post_processor", `{"type":"Strange"}`, `post_processor: type "Strange"`},
		{"post_processor", `{"type":"RobertaProcessing","sep":["</s>",7],"cls":["<s>",1]}`, "</s>"},
		{"decoder", `{"type":"Morse"}`, `decoder: type "Morse"`},
		{"model", `{"type":"WordLevel","vocab":{}}`, `"<unk>" is not in model.vocab`},
		{"model", `{"type":"Bigram","vocab":{}}`, `model: type "Bigram"`},
		{"model", `{"type":"BPE","vocab":{"a":0},"merges":["a b"]}`, "a + b"},
		{"model", `{"type":"BPE","vocab":{"a":0},"merges":["ab"]}`, `"ab"`},
		{"model", `{"type":"BPE","vocab":{"a":0},"merges":[],"dropout":0.1}`, "dropout"},
		{"model", `{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}`, "id 0"},
		{"model", `{"type":"BPE","vocab":{"a":-3},"merges":[]}`, "-3"},
		{"truncation", `{"max_length":5,"strategy":"LongestFirst","stride":0,"half":true}`, "truncation.half"},
		{"padding", `{"strategy":{"Fixe":3},"pad_id":0}`, "Fixe"},
		{"model", `null`, "model is missing"},
		{"added_tokens", `[{"id":3,"content":"<pad>"}]`, "<pad>"},
		{"added_tokens", `[{"id":0,"content":"<pad>","shiny":true}]`, "shiny"},
		{"version", `"2.0"`, "2.0"},
		{"version", `2`, "version is a number, and a text is needed"},
		{"model", `[1]`, "model is a list, and an object is needed"},
		{"model", `{"type":"BPE","vocab":{"a":"0"},"merges":[]}`, "model.vocab at /a is a text, and a whole number is needed"},
		{"added_tokens", `{}`, "added_tokens is an object, and a list is needed"},
		{"added_tokens", `[null]`, "added_tokens[0] is null, and an object is needed"},
		{"novelty", `{}`, "novelty"},
	} {
		m := base(t)
		m[c.key] = json.RawMessage(c.value)
		if _, err := parseMap(t, m); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s = %s: error %v, want one with %q", c.key, c.value, err, c.want)
		}
	}
}

// TestNoObject: a file that is another JSON value is named as what it is.
func TestNoObject(t *testing.T) {
	for text, want := range map[string]string{"[1,2]": "it is a list, and an object is needed",
		`"x"`: "it is a text, and an object is needed", "3": "it is a number, and an object is needed",
		"true": "it is true, and an object is needed", "null": "it is null, and an object is needed", "": "not valid JSON",
		"[1": "not valid JSON"} {
		if _, err := Parse([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
		for _, engine := range []string{EngineFast, EngineSugarme} {
			if _, err := LoadFS(fstest.MapFS{"tokenizer.json": {Data: []byte(text)}}, ".", engine); err == nil ||
				!strings.Contains(err.Error(), "tokenizer.json: "+want) {
				t.Errorf("%s: %v, want %s", text, err, want)
			}
		}
	}
}

// TestTruncatedFile: every beginning of the file is an error, never a panic or half a tokenizer.
func TestTruncatedFile(t *testing.T) {
	data := []byte(strings.TrimSpace(string(readAll(t, filepath.Join("testdata", "tokenizer", "tokenizer.json")))))
	for n := 0; n < len(data); n += 1 + len(data)/300 {
		if _, err := Parse(data[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were accepted", n, len(data))
		}
	}
	if _, err := Parse(data); err != nil {
		t.Fatal(err)
	}
}

// TestLongWord: the work grows with n, not n²: merges taken off the heap are at most three a byte, and a word twice as long takes about
// twice as many.
func TestLongWord(t *testing.T) {
	f, _, err := loadFamily(t, filepath.Join("testdata", "families", "gpt2"))
	if err != nil {
		t.Fatal(err)
	}
	random := func(n int) string {
		r := rand.New(rand.NewPCG(1, 2))
		b := make([]byte, n)
		for i := range b {
			b[i] = 'a' + byte(r.IntN(26))
		}
		return string(b)
	}
	for name, word := range map[string]func(n int) string{
		"one letter": func(n int) string { return strings.Repeat("a", n) },
		"letters":    random,
		"spaces":     func(n int) string { return strings.Repeat(" ", n) },
		"cjk":        func(n int) string { return strings.Repeat("語言", n/6) },
	} {
		var pops [2]int
		for i, n := range []int{100 << 10, 200 << 10} {
			var s scratch
			text := word(n)
			f.model.encode(&s, text)
			pops[i] = s.pops
			if s.pops > 3*n {
				t.Errorf("%s: %d merges taken off the heap for %d bytes", name, s.pops, n)
			}
			ids, err := f.AppendIDs(nil, text, false)
			if err != nil || f.Decode(ids, false) != text {
				t.Errorf("%s: %d bytes did not come back (%v)", name, n, err)
			}
		}
		if float64(pops[1]) > 2.2*float64(pops[0])+10 {
			t.Errorf("%s: %v merges for 100 and 200 KB", name, pops)
		}
	}
}

// naive is byte-pair encoding as its definition has it: of all adjacent pairs the one of lowest rank, leftmost, until there is none.
func naive(m *bpe, word string) []int32 {
	if id, ok := m.words[word]; ok && m.ignoreMerges {
		return []int32{id}
	}
	var ids []int32
	for i := range len(word) {
		ids = append(ids, m.byteID[word[i]])
	}
	for {
		best, at, to := noRank, -1, int32(0)
		for i := 0; i+1 < len(ids); i++ {
			if r, id := m.merges.get(ids[i], ids[i+1]); r < best {
				best, at, to = r, i, id
			}
		}
		if at < 0 {
			return ids
		}
		ids[at] = to
		ids = slices.Delete(ids, at+1, at+2)
	}
}

// slow encodes with the split pattern run by a regular expression, and naive.
func slow(t testing.TB, f *Fast, find finder, text string) []int32 {
	t.Helper()
	m, err := find(text)
	if err != nil {
		t.Fatal(err)
	}
	var ids []int32
	for _, x := range m {
		ids = append(ids, naive(f.model.(*bpe), text[x.b:x.e])...)
	}
	return ids
}

func slowPath(t testing.TB) (*Fast, []tokenCase, finder) {
	t.Helper()
	f, cases, err := loadFamily(t, filepath.Join("testdata", "families", "gpt2"))
	if err != nil {
		t.Fatal(err)
	}
	f.raw, f.normed = trie{}, trie{} // the slow path has no added tokens
	find, err := findRegex(patternGPT2, false)
	if err != nil {
		t.Fatal(err)
	}
	return f, cases, find
}

func TestFastEqualsSlowPath(t *testing.T) {
	f, cases, find := slowPath(t)
	for _, c := range cases {
		if len(c.Text) > 5000 {
			continue
		}
		got, err := f.AppendIDs(nil, c.Text, false)
		if want := slow(t, f, find, c.Text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %.80q: fast %v, slow %v (%v)", c.ID, c.Text, got, want, err)
		}
	}
}

func FuzzFastEqualsSlowPath(f *testing.F) {
	tk, cases, find := slowPath(f)
	for _, c := range cases[:20] {
		f.Add(c.Text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || len(text) > 2000 {
			return
		}
		got, err := tk.AppendIDs(nil, text, false)
		if want := slow(t, tk, find, text); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%q: fast %v, slow %v (%v)", text, got, want, err)
		}
	})
}

// TestScannersEqualTheirPatterns runs each pattern as a regular expression beside its scanner, on the texts of the cases and on random
// ones.
func TestScannersEqualTheirPatterns(t *testing.T) {
	_, cases, err := loadFamily(t, filepath.Join("testdata", "families", "gpt2"))
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, c := range cases {
		if len(c.Text) < 3000 {
			texts = append(texts, c.Text)
		}
	}
	parts := []string{"a", "B", "é", "語", "1", "²", " ", "\n", "\r", "\t", "\u00a0", "\u3000", "'", "s", "S", "'ll", "'RE", "ſ", ".", "-",
		"👍", "_", "\u0301"}
	r := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		var sb strings.Builder
		for range r.IntN(12) {
			sb.WriteString(parts[r.IntN(len(parts))])
		}
		texts = append(texts, sb.String())
	}
	for pattern, scan := range scanners {
		find, err := findRegex(pattern, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			m, err := find(text)
			if err != nil {
				t.Fatal(err)
			}
			var want, got []int
			for _, x := range m {
				want = append(want, x.e)
			}
			for i := 0; i < len(text); {
				i = scan(classTable(), text, i)
				got = append(got, i)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s\n%q: ends %v, want %v", pattern, text, got, want)
			}
		}
	}
}

// TestColdAndWarmCache: the same ids with an empty cache, a full one, and after it overflowed.
func TestColdAndWarmCache(t *testing.T) {
	f, cases, err := loadFamily(t, filepath.Join("testdata", "families", "gpt2"))
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		for i := range cases {
			if ids, err := f.AppendIDs(nil, cases[i].Text, false); err != nil || !slices.Equal(ids, cases[i].IDs) {
				t.Fatalf("round %d, %s: other ids (%v)", round, cases[i].ID, err)
			}
		}
		if round != 1 {
			continue
		}
		var sb strings.Builder
		for i := range cacheWords + 1000 {
			fmt.Fprintf(&sb, " q%dz", i)
		}
		if _, err := f.AppendIDs(nil, sb.String(), false); err != nil {
			t.Fatal(err)
		}
		for _, w := range f.free {
			if w.cache.words() > cacheWords || len(w.arena) > cacheIDs {
				t.Errorf("the cache holds %d words, %d ids", w.cache.words(), len(w.arena))
			}
		}
	}
}

// TestLossyDecode: bytes that are not UTF-8 become U+FFFD, one for each maximal part of a character, as in Rust's from_utf8_lossy.
func TestLossyDecode(t *testing.T) {
	f, _, err := loadFamily(t, filepath.Join("testdata", "families", "gpt2"))
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"a\xffb":              "a\ufffdb",
		"\xe2\x82":            "\ufffd",       // the first two bytes of €
		"\xe2\x82\xe2\x82":    "\ufffd\ufffd", // twice
		"\xf0\x9f\x91":        "\ufffd",
		"\xf0\x9f\x91x":       "\ufffdx",
		"\xc0\xaf":            "\ufffd\ufffd", // overlong
		"\xed\xa0\x80":        "\ufffd\ufffd\ufffd",
		"\xf4\x90\x80\x80":    "\ufffd\ufffd\ufffd\ufffd",
		"\xf0\x9f\x91\x8d ok": "👍 ok",
		"\x80\x80":            "\ufffd\ufffd",
	} {
		var ids []int32
		for i := range len(in) {
			ids = append(ids, f.model.(*bpe).byteID[in[i]])
		}
		if got := f.Decode(ids, false); got != want {
			t.Errorf("%q decoded to %q, want %q", in, got, want)
		}
		if _, err := f.AppendIDs(nil, in, false); (err == nil) != utf8.ValidString(in) {
			t.Errorf("encoding %q: %v", in, err)
		}
	}
	if got := f.Decode([]int32{-1, 1 << 30, f.model.(*bpe).byteID['k']}, false); got != "k" {
		t.Errorf("ids outside the vocabulary: %q", got)
	}
}

// TestHash: the hash is of the bytes of the file, so it is the same on every machine and tells two files apart.
func TestHash(t *testing.T) {
	data := readAll(t, filepath.Join("testdata", "tokenizer", "tokenizer.json"))
	a, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	const want = "29b9e83580c32698b8489ea1ffc037a6cb940f4832ea654e24b6381ba760d1a7"
	if a.Hash() != want {
		t.Errorf("hash %s, want %s", a.Hash(), want)
	}
	b, err := Parse(append(slices.Clone(data), '\n'))
	if err != nil || b.Hash() == a.Hash() {
		t.Errorf("another file has the same hash (%v)", err)
	}
}

// TestConcurrentCallsShareNothing mixes Encode, AppendIDs and Decode; run with -race.
func TestConcurrentCallsShareNothing(t *testing.T) {
	f, cases, err := loadFamily(t, filepath.Join("testdata", "families", "gpt2"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for k := range 6 {
		wg.Go(func() {
			for i := k; i < len(cases); i += 2 {
				c := &cases[i]
				if e, err := f.Encode(c.Text, false); err != nil || !slices.Equal(e.IDs, c.IDs) || !slices.Equal(e.Offsets, c.Offsets) {
					t.Errorf("%s: other tokens under concurrency", c.ID)
				}
				if c.Decode != nil && f.Decode(c.IDsSpecial, false) != *c.Decode {
					t.Errorf("%s: other text under concurrency", c.ID)
				}
			}
		})
	}
	wg.Wait()
}
