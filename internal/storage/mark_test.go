package storage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMark: the mark of UTF-8 is not a part of what is read whole, but of a record of this program; UTF-16 is named in the error.
func TestMark(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{"\ufeff{}": "{}", "{}": "{}", "\ufeff": "", "": "", "\xef\xbb": "\xef\xbb",
		"\xff\xfe{\x00": "UTF-16", "\xfe\xff\x00{": "UTF-16", "\x00\x00\xfe\xff\x00\x00\x00{": "UTF-32"} {
		path := filepath.Join(dir, "config.json")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, k := range []Kind{KindRecipe, KindTemplate, KindConfig, KindIndex, KindTokenizer, KindPrompts} {
			b, err := ReadSmall(path, k)
			if strings.HasPrefix(want, "UTF") {
				if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
					t.Errorf("%q as %s: %v", content, k.Name, err)
				}
			} else if err != nil || string(b) != want {
				t.Errorf("%q as %s: %q %v", content, k.Name, b, err)
			}
		}
		if b, err := ReadSmall(path, KindState); err != nil || string(b) != content {
			t.Errorf("%q as a record: %q %v", content, b, err)
		}
	}
}
