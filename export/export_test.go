package export

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/train"
)

// names is a toy format: the names of an adapter's tensors as JSON, of at most eight. It is this and the row that TestToyFormat adds.
var names = Format{
	Name:   "names",
	Folder: "names",
	Doc:    "the names of the tensors, for the test",
	Takes:  "adapters of at most eight tensors",
	When:   func(c *Config) bool { return c.MergedDType == "names" },
	Refuse: func(a *peft.Adapter) error {
		if n := len(a.Params()); n > 8 {
			return errors.New("it has too many tensors: adapt fewer modules")
		}
		return nil
	},
	Write: func(s *Source, _ *Config, to string) error {
		var list []string
		for _, p := range s.Adapter.Params() {
			list = append(list, p.Key)
		}
		if err := storage.MkdirShared(to); err != nil {
			return err
		}
		return storage.WriteJSON(filepath.Join(to, "names.json"), list)
	},
}

const base = "../model/testdata/models/llama_gqa"

// source makes a new adapter of a method over a base model.
func source(t *testing.T, method string, config map[string]any) *Source {
	t.Helper()
	m, err := model.Load(base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	a, err := train.OpenAdapter(m, "", method, config, base, 1)
	if err != nil {
		t.Fatal(err)
	}
	params, err := a.NewParams(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(params.Free)
	return &Source{Base: base, Adapter: a, Params: params, Card: peft.Card{Version: "test"}}
}

func folders(t *testing.T, dir string) string {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var out []string
	for _, e := range es {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

// TestToyFormat: a new format is a file and a row. It is written where the settings ask for it, and what it refuses is refused
// before anything is.
func TestToyFormat(t *testing.T) {
	was := Formats
	defer func() { Formats = was }()
	Formats = append(slices.Clone(Formats), &names)
	few := source(t, "LORA", map[string]any{"r": 2, "target_modules": []string{"q_proj"}})
	for _, c := range []struct {
		config Config
		want   string
	}{{Config{}, "adapter"}, {Config{MergedDType: "names"}, "adapter names"}, {Config{Merged: true}, "adapter merged"}} {
		dir := t.TempDir()
		for range 2 { // the second time in the place of the first
			if err := Write(few, &c.config, dir); err != nil {
				t.Fatal(err)
			}
		}
		if got := folders(t, dir); got != c.want {
			t.Errorf("%+v writes %s, want %s", c.config, got, c.want)
		}
		if strings.Contains(c.want, "names") {
			raw, err := os.ReadFile(filepath.Join(dir, "names", "names.json"))
			var list []string
			if err == nil {
				err = json.Unmarshal(raw, &list)
			}
			if err != nil || len(list) != 4 || !strings.Contains(list[0], "q_proj.lora_A") {
				t.Errorf("%s, %v", raw, err)
			}
		}
	}
	many := source(t, "LORA", map[string]any{"r": 2, "target_modules": "all-linear"})
	dir := t.TempDir()
	if err := Write(many, &Config{MergedDType: "names"}, dir); err == nil ||
		!strings.Contains(err.Error(), "export: names: it has too many tensors") ||
		folders(t, dir) != "" {
		t.Errorf("%v; %s is written", err, folders(t, dir))
	}
}

// TestEveryFormat: each row is written where every switch of the settings is on, to a folder that is not empty.
func TestEveryFormat(t *testing.T) {
	c := Config{}
	for i, v := 0, reflect.ValueOf(&c).Elem(); i < v.NumField(); i++ {
		if v.Field(i).Kind() == reflect.Bool {
			v.Field(i).SetBool(true)
		}
	}
	dir := t.TempDir()
	if err := Write(source(t, "LORA", map[string]any{"r": 2, "target_modules": "all-linear"}), &c, dir); err != nil {
		t.Fatal(err)
	}
	for _, f := range Wanted(&c) {
		if folders(t, filepath.Join(dir, f.Folder)) == "" {
			t.Errorf("%s writes nothing", f.Name)
		}
	}
	if n := len(strings.Fields(folders(t, dir))); n != len(Wanted(&c)) {
		t.Errorf("%s are written for %d formats", folders(t, dir), len(Wanted(&c)))
	}
}

// TestMergedRefuses: a method that cannot be merged is refused with what to do instead, and nothing is written.
func TestMergedRefuses(t *testing.T) {
	s := source(t, "PROMPT_TUNING", map[string]any{"num_virtual_tokens": 2})
	dir := t.TempDir()
	if err := Write(s, &Config{Merged: true}, dir); err == nil ||
		!strings.Contains(err.Error(), "a PROMPT_TUNING adapter cannot be merged") ||
		!strings.Contains(err.Error(), "adaptflow export") || folders(t, dir) != "" {
		t.Errorf("%v; %s is written", err, folders(t, dir))
	}
	if err := Write(s, &Config{}, dir); err != nil {
		t.Error(err)
	}
}

// TestFolders: an adapter that is in HF PEFT's format already is copied, and merged from there.
func TestFolders(t *testing.T) {
	s := source(t, "LORA", map[string]any{"r": 2, "target_modules": []string{"q_proj"}})
	from, to := t.TempDir(), t.TempDir()
	if err := Write(s, &Config{}, from); err != nil {
		t.Fatal(err)
	}
	if err := Write(&Source{Base: base, Folder: filepath.Join(from, AdapterFolder)}, &Config{Merged: true}, to); err != nil {
		t.Fatal(err)
	}
	if folders(t, to) != "adapter merged" || folders(t, filepath.Join(to, "adapter")) != folders(t, filepath.Join(from, "adapter")) {
		t.Errorf("%s: %s", folders(t, to), folders(t, filepath.Join(to, "adapter")))
	}
}

// TestRows: every row of the table says what it is, and no two share a name or a folder.
func TestRows(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Formats {
		if f.Name == "" || f.Folder == "" || f.Doc == "" || f.Takes == "" || f.When == nil || f.Write == nil ||
			seen[f.Name] || seen["/"+f.Folder] {
			t.Errorf("the row %q is not whole, or twice there", f.Name)
		}
		seen[f.Name], seen["/"+f.Folder] = true, true
	}
	if Formats[0] != &pefts {
		t.Error("HF PEFT's folder, of which others are made, is not written first")
	}
}
