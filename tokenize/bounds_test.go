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
		return `{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}, "normalizer": ` + strings.Repeat(`{"type": "Sequence", "normalizers": [`, n) +
			`{"type": "NFC"}` + strings.Repeat(`]}`, n) + `}`
	}
	long := func(n int) string {
		return fmt.Sprintf(`{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}, "added_tokens": [{"id": 1, "content": "%s", "single_word": false,
			"lstrip": false, "rstrip": false, "normalized": false, "special": true}]}`, strings.Repeat("x", n))
	}
	for _, c := range []struct{ name, data, want string }{
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
