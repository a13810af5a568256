package datasets

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzJSONString reads strings, and objects with them as key and value, as encoding/json does.
func FuzzJSONString(f *testing.F) {
	for _, s := range []string{`""`, `"a"`, `"a\n\t\"\\\/\b\f\r"`, `"\u00e9\ud83d\ude00é😀"`, `"\ud83d"`, `"\ude00x"`, `"\ud83d\ud83d\ude00"`, `"\u0000"`, `"\ud83dA"`, `"�"`, `"\ud83d\\ude00"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var want string
		if !utf8.ValidString(raw) || !strings.HasPrefix(raw, `"`) || json.Unmarshal([]byte(raw), &want) != nil {
			t.Skip()
		}
		raw = strings.TrimSpace(raw)
		got, reason := jsonString(json.RawMessage(raw))
		switch {
		case reason == ReasonInvalidUTF8 && loneSurrogate([]byte(raw)):
		case reason != "" || got != want:
			t.Fatalf("%s: %q, %s; encoding/json gives %q", raw, got, reason, want)
		}
		r := &jsonlReader{fileReader{o: Options{TextColumn: want, MaxRecordBytes: 1 << 30}, kind: RowPlain}}
		line := []byte("{\"x\": [1, {}], " + raw + " : " + raw + "}")
		if rec, rej := r.parse(line, int64(len(line))); reason == "" && want != "" && want != "url" && (rej != nil || rec.Text != want) {
			t.Fatalf("%s: %+v, %+v", line, rec, rej)
		}
	})
}
