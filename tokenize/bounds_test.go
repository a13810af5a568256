package tokenize

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestTokenizersOutOfProportion: components in one another thousands deep, and added tokens of megabytes, are errors at once.
func TestTokenizersOutOfProportion(t *testing.T) {
	deep := func(n int) string {
		return `{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}, "normalizer": ` +
			strings.Repeat(`{"type": "Sequence", "normalizers": [`, n) +
			`{"type": "NFC"}` + strings.Repeat(`]}`, n) + `}`
	}
	long := func(n int) string {
		return fmt.Sprintf(`{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}, "added_tokens": [{"id": 1, "content": "%s", "single_word": false,
			"lstrip": false, "rstrip": false, "normalized": false, "special": true}]}`, strings.Repeat("x", n))
	}
	added := func(id string) string { return strings.Replace(long(1), `"id": 1`, `"id": `+id, 1) }
	around := func(parts, ids int) string {
		return `{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}, "post_processor": {"type": "TemplateProcessing", "pair": [], "single": [` +
			strings.Repeat(`{"SpecialToken": {"id": "a", "type_id": 0}}, `, parts) +
			`{"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {"a": {"id": "a", "ids": [0` +
			strings.Repeat(", 0", ids-1) + `], "tokens": ["a"]}}}}`
	}
	several := func(n int) string {
		return `{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}, "post_processor": {"type": "Sequence", "processors": [` +
			strings.Repeat(`{"type": "ByteLevel"}, `, n-1) + `{"type": "ByteLevel"}]}}`
	}
	for _, c := range []struct{ name, data, want string }{
		{"an id that int32 cannot hold", added("4294967297"), "has id 4294967297, out of range"},
		{"an id below 0", added("-1"), "has id -1, out of range"},
		{"around a text", around(20000, 20000), "post_processor.single puts more than 1000 tokens around a text"},
		{"a few around a text", around(3, 2), ""},
		{"many steps around a text", several(100000), "post_processor does more than 1000 things to a text"},
		{"some steps around a text", several(3), ""},
		{"nested", deep(4000), "nests deeper than 200"},
		{"nested a little", deep(20), ""},
		{"brackets in text", long(10) + strings.Repeat(" ", 10), ""},
		{"long", long(10 << 20), "more than 65536"},
		{"long enough", long(60 << 10), ""},
	} {
		got := make(chan error, 1)
		go func() { _, err := Parse([]byte(c.data)); got <- err }()
		select {
		case err := <-got:
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: %.300v", c.name, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: it takes more than 5 s", c.name)
		}
	}
}
