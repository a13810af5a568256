package datasets

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzJSONString reads strings, and objects with them as key and value, as encoding/json does.
func FuzzJSONString(f *testing.F) {
	for _, s := range []string{`""`, `"a"`, `"a\n\t\"\\\/\b\f\r"`, `"\u00e9\ud83d\ude00é😀"`, `"\ud83d"`, `"\ude00x"`,
		`"\ud83d\ud83d\ude00"`, `"\u0000"`, `"\ud83dA"`, `"�"`, `"\ud83d\\ude00"`} {
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
		case reason == ReasonInvalidUTF8 && strings.ContainsRune(want, utf8.RuneError): // half a surrogate pair
		case reason != "" || got != want:
			t.Fatalf("%s: %q, %s; encoding/json gives %q", raw, got, reason, want)
		}
		r := &jsonlReader{fileReader: fileReader{o: Options{TextColumn: want, MaxRecordBytes: 1 << 30}, kind: RowPlain}}
		line := []byte("{\"x\": [1, {}], " + raw + " : " + raw + "}")
		if rec, rej := r.parse(line, int64(len(line))); reason == "" && want != "" && want != "url" && (rej != nil || rec.Text != want) {
			t.Fatalf("%s: %+v, %+v", line, rec, rej)
		}
	})
}

// FuzzMembers cuts lines into members as encoding/json does, and takes no other line for an object.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{`{}`, ` {"a": [1, {"b": null}], "a" : "x\u00e9" } `, `{"a":1}x`, `{"a":1,}`, `{"a" 1}`, `null`, `[{}]`,
		`{"a":01}`, `{"\ud800":-1e+9}`, `{"a":{"a":1,"a":2}}`, "{\"a\":\"\x01\"}", "{\"a\":\"\xff\"}"} {
		f.Add(s)
	}
	r := &jsonlReader{}
	f.Fuzz(func(t *testing.T, line string) {
		var want map[string]json.RawMessage
		if !utf8.ValidString(line) { // parse rejects it before members sees it
			if _, rej := r.parse([]byte(line), 0); rej == nil || rej.Reason != ReasonInvalidUTF8 {
				t.Fatalf("%q: %+v", line, rej)
			}
			return
		}
		err := json.Unmarshal([]byte(line), &want)
		got, ok := r.members([]byte(line))
		if ok != (err == nil && want != nil) {
			t.Fatalf("%q: taken for an object: %v; encoding/json: %v", line, ok, err)
		}
		if ok && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %q, want %q", line, got, want)
		}
	})
}
