package continual

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.json")
	h, err := ReadHistory(path)
	if err != nil || h.Next() != 1 || h.Current() != nil {
		t.Fatalf("%+v %v", h, err)
	}
	h.Base.Domain = &Score{Perplexity: 100}
	h.Increments = []Increment{
		{Number: 1, Files: []File{{"a.txt", "aa", 1}}, Decision: Accepted, After: Scores{Domain: &Score{Perplexity: 90}}},
		{Number: 2, Files: []File{{"b.txt", "bb", 1}, {"c.txt", "cc", 1}}, Decision: RolledBack, Reason: "why", Parent: 1,
			After: Scores{Domain: &Score{Perplexity: 500}}},
	}
	if err := h.Write(path); err != nil {
		t.Fatal(err)
	}
	if h, err = ReadHistory(path); err != nil {
		t.Fatal(err)
	}
	if c := h.Current(); c == nil || c.Number != 1 || h.Next() != 3 || h.Latest().Domain.Perplexity != 90 {
		t.Errorf("%+v", h)
	}
	for _, c := range []struct {
		name, sum string
		taken     bool
		same      int
	}{{"a.txt", "aa", true, 1}, {"a.txt", "changed", false, 0}, {"renamed.txt", "aa", false, 1}, {"c.txt", "cc", true, 2}} {
		same := 0
		if x := h.Same(c.sum); x != nil {
			same = x.Number
		}
		if h.Taken(c.name, c.sum) != c.taken || same != c.same {
			t.Errorf("%+v: taken %v, same as %d", c, h.Taken(c.name, c.sum), same)
		}
	}
	for _, c := range []struct{ text, want string }{
		{`{"schema_version": 1, "increments": [{"increment": 2}]}`, "increment 2 stands at place 1"},
		{`{"schema_version": 9}`, "schema_version 9"},
		{`{"schema_version": 1, "incr`, "restore it"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadHistory(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", c.text, err)
		}
	}
}
