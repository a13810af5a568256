package kinds

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pulled"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/transforms/perkey"
)

// onStore copies a folder to a place on an object store.
func onStore(t *testing.T, to, dir string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		return storage.CopyFile(storage.Join(to, rel), p)
	}); err != nil {
		t.Fatal(err)
	}
}

// TestStartsOnAStore: a run that starts from an adapter on an object store, or a run by key from the adapters of an earlier one there,
// gives the bytes of one that starts from a folder, wherever its output is. Adapters are those that are there now; of none, the error
// names the setting and the place.
func TestStartsOnAStore(t *testing.T) {
	bucket := onS3(t)
	dir := t.TempDir()
	text, err := filepath.Abs(filepath.Join(small, "text.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	rows := filepath.Join(filepath.Dir(text), "rows.jsonl")
	ann := perkey.KeyName("Ann")
	for _, c := range []struct {
		name, template, input, key, starts string
		more, files                        []string
	}{
		{"one", "domain-adaptation", text, "train.init_adapter", run.AdapterDir, nil,
			[]string{"adapter/adapter_model.safetensors", "adapter/adapter_config.json"}},
		{"keys", "personal-assistants", rows, "keys.init_adapters", run.AdapterDir + "s",
			[]string{"key_column=user", "keys.min_sequences=1", "general_input="},
			[]string{"adapters/" + ann + "/adapter_model.safetensors", "adapters/" + ann + "/adapter_config.json"}},
		{"continual", "continual-learning", text, "train.init_adapter", "",
			[]string{"continual.max_forgetting=5", "continual.max_domain_rise=5"}, []string{"versions/0001/adapter_model.safetensors"}},
	} {
		do := func(output, starts string, more ...string) error {
			t.Helper()
			set := append(append([]string{}, c.more...), more...)
			if starts != "" {
				set = append(set, c.key+"="+starts)
			}
			_, err := driver(t, afarRecipe(t, c.template, c.input, set...), output, toTheEnd)
			return err
		}
		ok := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(c.name, err)
			}
		}
		place := bucket + "/starts/" + c.name
		var starts []string
		for _, seed := range []string{"1", "2"} {
			first := filepath.Join(dir, c.name+seed)
			if c.name == "continual" { // from the adapter of a run of one
				starts = append(starts, filepath.Join(dir, "one"+seed, run.AdapterDir))
				continue
			}
			ok(do(first, "", "train.seed="+seed))
			starts = append(starts, filepath.Join(first, c.starts))
		}
		first := ""
		for i, from := range starts {
			onStore(t, place, from)
			local := filepath.Join(dir, c.name+"-from-"+filepath.Base(filepath.Dir(from)))
			ok(do(local, from))
			far := bucket + "/" + c.name + filepath.Base(local)
			ok(do(far, place))
			sameAs(t, far, local, c.files...)
			if i == 0 {
				ok(do(local+"-mixed", place+"/"))
				sameAs(t, local+"-mixed", local, c.files...)
				first = local
			} else if read(t, local, c.files[0]) == read(t, first, c.files[0]) {
				t.Errorf("%s: what it starts from changes nothing", c.name)
			}
		}
		err := do(filepath.Join(dir, c.name+"-none"), bucket+"/nothing")
		if err == nil || !strings.Contains(err.Error(), c.key+": "+bucket+"/nothing: there is no such folder, or it holds no files") {
			t.Errorf("%s: of a folder that is not there: %v", c.name, err)
		}
	}
}

// TestBaseOnAStore: a base model and a teacher on an object store give the bytes of those in a folder, wherever the output is; of one that
// is not there the error names the setting's place.
func TestBaseOnAStore(t *testing.T) {
	bucket := onS3(t)
	in, err := filepath.Abs(small)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(in, "base")
	onStore(t, bucket+"/base", base)
	text := filepath.Join(in, "text.jsonl")
	settings := []string{"teacher=" + base, "eval_input=" + filepath.Join(in, "held.jsonl")}
	local := filepath.Join(t.TempDir(), "local")
	if _, err := driver(t, afarRecipe(t, "distillation", text, settings...), local, toTheEnd); err != nil {
		t.Fatal(err)
	}
	settings[0] = "teacher=" + bucket + "/base"
	for _, output := range []string{filepath.Join(t.TempDir(), "here"), bucket + "/there"} {
		rec := afarRecipe(t, "distillation", text, append(settings, "model="+bucket+"/base")...)
		if _, err := driver(t, rec, output, toTheEnd); err != nil {
			t.Fatal(err)
		}
		sameAs(t, output, local, "adapter/adapter_model.safetensors")
	}
	_, err = driver(t, afarRecipe(t, "distillation", text, append(settings, "model="+bucket+"/none")...), t.TempDir(), toTheEnd)
	if err == nil || !strings.Contains(err.Error(), bucket+"/none: there is no such folder") {
		t.Errorf("%v", err)
	}
}

// TestFromStore: a folder on an object store is pulled once, and again when one of its objects has another content; what is hidden stays.
func TestFromStore(t *testing.T) {
	place := onS3(t)
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	write := func(name, text string) {
		t.Helper()
		if err := storage.WriteFile(storage.Join(place, name), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	write("a/config.json", "one")
	write("a/in/weights", "1234")
	write("a/.hidden", "x")
	write("ab/config.json", "of another")
	pull := func() string {
		t.Helper()
		dir, err := pulled.FromStore(t.Context(), place+"/a/")
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	first := pull()
	if again := pull(); again != first || read(t, first, "config.json") != "one" || read(t, first, "in/weights") != "1234" {
		t.Errorf("%s, then %s", first, again)
	}
	if _, err := os.Stat(filepath.Join(first, ".hidden")); err == nil {
		t.Error("what is hidden was pulled")
	}
	write("a/config.json", "two")
	if other := pull(); other == first || read(t, other, "config.json") != "two" || read(t, first, "config.json") != "one" {
		t.Errorf("%s, and %s after a change", first, other)
	}
	if _, err := pulled.FromStore(t.Context(), place+"/a/config.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file is a folder: %v", err)
	}
	if dir, err := pulled.FromStore(t.Context(), "some/folder"); dir != "some/folder" || err != nil {
		t.Errorf("a folder of this machine: %s, %v", dir, err)
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Error(err)
	}
	return string(b)
}
