package tokenize

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// growing is a tokenizer.json whose normalizer is the given one.
func growing(normalizer string) string {
	return `{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":` + normalizer +
		`,"pre_tokenizer":null,"post_processor":null,
"decoder":{"type":"Sequence","decoders":[` + strings.Repeat(`{"type":"Replace","pattern":{"String":"a"},"content":"aa"},`, 60) + `{"type":"Fuse"}]},
"model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"vocab":{"a":0,"b":1},"merges":[]}}`
}

func doubling(n int, pattern string) string {
	one := `{"type":"Replace","pattern":{` + pattern + `},"content":"aa"}`
	return `{"type":"Sequence","normalizers":[` + one + strings.Repeat(","+one, n-1) + `]}`
}

// TestNormalizersOutOfProportion: a small tokenizer.json that makes an endless text of a short one is an error that says so, before the
// memory is taken; a chain that grows as real ones do is not.
func TestNormalizersOutOfProportion(t *testing.T) {
	for name, c := range map[string]struct {
		normalizer, text string
		ok               bool
	}{
		"a few":   {doubling(3, `"String":"a"`), "aab", true},
		"doubled": {doubling(40, `"String":"a"`), "a", false},
		"regex":   {doubling(40, `"Regex":"a"`), "a", false},
		"nested": {`{"type":"Sequence","normalizers":[` + doubling(18, `"String":"a"`) + "," + doubling(18, `"String":"a"`) + `]}`,
			"a", false},
		"long content": {fmt.Sprintf(`{"type":"Replace","pattern":{"String":"a"},"content":"%s"}`, strings.Repeat("b", 1<<18)),
			strings.Repeat("a", 1<<16), false},
		"no length": {fmt.Sprintf(`{"type":"Replace","pattern":{"Regex":"x*"},"content":"%s"}`, strings.Repeat("b", 1<<18)),
			strings.Repeat("a", 1<<16), false},
		"prepended": {`{"type":"Sequence","normalizers":[` +
			strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`{"type":"Prepend","prepend":"%s"},`, strings.Repeat("a", 1<<14)), 400), ",") +
			`]}`, "a", false},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Parse([]byte(growing(c.normalizer)))
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			ids, err := f.AppendIDs(nil, c.text, false)
			runtime.ReadMemStats(&after)
			if c.ok != (err == nil) || err != nil && !strings.Contains(err.Error(), "out of proportion") {
				t.Errorf("%d tokens, %v", len(ids), err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<30 {
				t.Errorf("%d MiB were taken", used>>20)
			}
			if text := f.Decode([]int32{0, 1}, false); len(text) > 2*growFree || !strings.HasSuffix(text, "b") {
				t.Errorf("decoded to %d bytes", len(text))
			}
		})
	}
	if _, err := Parse([]byte(growing(doubling(100_000, `"String":"a"`)))); err == nil || !strings.Contains(err.Error(), "parts") {
		t.Errorf("100,000 normalizers: %v", err)
	}
}
