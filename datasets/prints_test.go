package datasets

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestPrints: white space is not a part of a text; prints of training and held-out documents are told apart, and damage is found.
func TestPrints(t *testing.T) {
	if PrintOf("a  b\r\nc ") != PrintOf("a b c") || PrintOf("ab c") == PrintOf("a bc") || PrintOf("a b") == PrintOf("b a") ||
		PrintOf("") == PrintOf("a") {
		t.Error("prints")
	}
	dir := t.TempDir()
	write := func(name string, sources map[string][2][]string, order ...string) string {
		var list []SourcePrints
		for _, s := range order {
			list = append(list, SourcePrints{s, len(sources[s][0]), len(sources[s][1])})
		}
		path := filepath.Join(dir, name)
		if err := WritePrints(path, list, func(i int, held bool) (out []Print, err error) {
			k := 0
			if held {
				k = 1
			}
			for _, text := range sources[order[i]][k] {
				out = append(out, PrintOf(text))
			}
			return out, nil
		}); err != nil {
			t.Fatal(err)
		}
		return path
	}
	train := write("train", map[string][2][]string{"a": {{"x", "y", "y"}, {"z", "x"}}, "b": {{"x", "w"}, {"q"}}}, "a", "b")
	set := write("set", map[string][2][]string{"c": {{"x", "x", "n"}, nil}, "d": {{"z"}, nil}, "e": {{"y"}, nil}}, "c", "d", "e")
	for path, want := range map[string]string{set: "[{c 2 3 [a b]} {e 1 1 [a]}]", "": "[{a 1 2 [a b]}]",
		train: "[{a 3 3 [a b]} {b 2 2 [a b]}]"} {
		if got, err := CompareTraining(train, path); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%v (%v), want %s", got, err, want)
		}
	}
	raw, err := os.ReadFile(set)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{raw[:len(raw)-1], raw[:5], []byte("nonsense\n"), nil} {
		path := filepath.Join(dir, "bad")
		if err := os.WriteFile(path, bad, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := CompareTraining(train, path); err == nil {
			t.Errorf("%d bytes: no error", len(bad))
		}
	}
}
