package export

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// level is the setting of a registered format.
type level struct {
	Level int `yaml:"level" json:"level" bounds:"[0,9]" help:"how much"`
}

// own is a format that writes its setting.
func own() Format {
	return Format{
		Name: "own", Folder: "own", Doc: "its setting", Settings: func() any { return &level{Level: 6} },
		Write: func(_ *Source, c *Config, to string) error {
			s, err := c.SettingsOf("own")
			if err != nil {
				return err
			}
			if err := os.MkdirAll(to, 0o755); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, "level"), fmt.Append(nil, s.(*level).Level), 0o644)
		},
	}
}

// TestRegister: a registered format is written where the settings name it, with the settings beside its name; what is wrong with a row is a
// panic.
func TestRegister(t *testing.T) {
	was := Formats
	defer func() { Formats = was }()
	Formats = was[:len(was):len(was)]
	refused := func(text string, change func(*Format)) {
		t.Helper()
		f, n := own(), len(Formats)
		change(&f)
		defer func() {
			t.Helper()
			if got, _ := recover().(string); !strings.Contains(got, text) || len(Formats) != n {
				t.Errorf("%d rows after %q, want %q", len(Formats), got, text)
			}
		}()
		Register(f)
	}
	refused("a format has a name", func(f *Format) { f.Folder = "" })
	refused("a format has a name", func(f *Format) { f.Write = nil })
	refused("leave When empty", func(f *Format) { f.When = func(*Config) bool { return true } })
	refused("there is a format merged with the folder merged already", func(f *Format) { f.Name = "merged" })
	refused("there is a format peft with the folder adapter already", func(f *Format) { f.Folder = "adapter" })
	for _, folder := range []string{"shards", "../own", "a/b", ".own", "/own"} {
		refused(fmt.Sprintf("the folder %q of own must be one of its own", folder), func(f *Format) { f.Folder = folder })
	}
	refused("a default of own: level is 10", func(f *Format) { f.Settings = func() any { return &level{10} } })
	Register(own())
	refused("there is a format own with the folder own already", func(*Format) {})

	s := source(t, "LORA", map[string]any{"r": 2, "target_modules": []any{"q_proj"}})
	for want, list := range map[string][]map[string]any{"": nil, "6": {{"name": "own"}}, "2": {{"name": "own", "level": 2}}} {
		c, out := Config{Formats: list}, t.TempDir()
		if err := c.CheckFormats(); err != nil {
			t.Fatal(err)
		}
		if err := Write(s, &c, out); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(out, "own", "level"))
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("of %v there is %q, %v", list, got, err)
		}
	}
	for text, list := range map[string][]map[string]any{
		`[0]: the format "merged" is unknown; it is one of own`: {{"name": "merged"}},
		`[0]: own.level is 10; it must be at most 9`:            {{"name": "own", "level": 10}},
	} {
		if err := (&Config{Formats: list}).CheckFormats(); err == nil || err.Error() != text {
			t.Errorf("%v, want %s", err, text)
		}
	}
}
