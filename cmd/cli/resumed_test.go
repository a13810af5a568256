package cli

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/templates"
)

// resumedCase is a run that commit 7080693 began: see testdata/resumed/make.py.
type resumedCase struct {
	Name string
	Args []string   // the template and its settings
	Then [][]string // commands that followed, in the last of which it was killed
	Cuts map[string]json.RawMessage
}

// resumedWant is what the run gave that commit: SHA-256 of adapters and shards by file, with the folder's path written WORK, and the keys
// of the summary's JSON by file.
type resumedWant struct {
	SHA256 map[string]string
	Keys   map[string][]string
}

const resumedData = "testdata/resumed"

// sinceThen are the templates that commit did not have.
var sinceThen = []string{"grpo", "preference-tuning", "reward-model"}

// keysSince are keys of a summary that commit did not write: what the run was.
var keysSince = []string{".adaptflow.model", ".adaptflow.data", ".adaptflow.method", ".adaptflow.rank", ".adaptflow.objective",
	".adaptflow.learning_rate", ".adaptflow.finished", ".adaptflow.run_seconds", ".adaptflow.command"}

// TestRunsBegunBeforeTheRooms: a run of each template, and so of each kind, that was killed in each of its parts while the program of
// commit 7080693 worked on it, is taken up where it was killed and ends with the adapters, the shards and the keys of the summary that it
// had there; a run that begins now has them, too.
func TestRunsBegunBeforeTheRooms(t *testing.T) {
	read := func(name string, into any) {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join(resumedData, name))
		if err == nil {
			err = json.Unmarshal(raw, into)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	var cases []resumedCase
	read("cases.json", &cases)
	var want map[string]resumedWant
	read("want.json", &want)
	z, err := zip.OpenReader(filepath.Join(resumedData, "begun.zip"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { z.Close() })
	raw, err := fs.ReadFile(z, "files.json")
	if err != nil {
		t.Fatal(err)
	}
	var begun map[string]map[string]map[string]string // by case, cut and file: the name of its content
	if err := json.Unmarshal(raw, &begun); err != nil {
		t.Fatal(err)
	}
	for _, tp := range templates.List() {
		if !slices.Contains(sinceThen, tp.Name) && !slices.ContainsFunc(cases, func(c resumedCase) bool { return c.Args[0] == tp.Name }) {
			t.Errorf("no run of the template %s was begun", tp.Name)
		}
	}
	for _, c := range cases {
		if len(want[c.Name].SHA256) == 0 || len(want[c.Name].Keys) == 0 {
			t.Fatalf("%s: nothing is wanted", c.Name)
		}
		cuts := slices.Sorted(maps.Keys(c.Cuts))
		if c.Then == nil {
			cuts = append(cuts, "anew")
		}
		for _, cut := range cuts {
			files := begun[c.Name][cut]
			if (len(files) == 0) != (cut == "anew") {
				t.Fatalf("%s, %s: %d files", c.Name, cut, len(files))
			}
			t.Run(c.Name+"/"+cut, func(t *testing.T) {
				t.Parallel()
				resume(t, c, want[c.Name], files, z)
			})
		}
	}
}

// resume puts the files of a begun run into a folder, runs the command there and compares what comes of it.
func resume(t *testing.T, c resumedCase, want resumedWant, files map[string]string, contents fs.FS) {
	work := t.TempDir()
	if err := os.CopyFS(work, os.DirFS(filepath.Join(resumedData, "in"))); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(work, "out")
	then := time.Date(2026, 11, 30, 2, 0, 0, 0, time.UTC)
	for name, sum := range files {
		raw, err := fs.ReadFile(contents, sum)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(out, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, bytes.ReplaceAll(raw, []byte("WORK"), []byte(work)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(to, then, then); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"run", c.Args[0], "--output", "out"}
	for _, s := range c.Args[1:] {
		args = append(args, "--set", s)
	}
	cmd := adaptflow(args...)
	cmd.Dir, cmd.Env = work, append(cmd.Env, "ADAPTFLOW_KERNELS=plain")
	code, _, stderr := ended(t, cmd)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for name := range files {
		if strings.HasSuffix(name, "/trainer_state.json") && !strings.Contains(stderr, "continuing from") {
			t.Errorf("it does not go on from %s: %s", name, stderr)
		}
		if finishedPart(name, files) && (c.Then == nil || !changedByForget.MatchString(name)) {
			if i, err := os.Stat(filepath.Join(out, filepath.FromSlash(name))); err != nil || !i.ModTime().Equal(then) {
				t.Errorf("%s was there and is made again (%v)", name, err)
			}
		}
	}
	sums, keys := map[string]string{}, map[string][]string{}
	err := filepath.WalkDir(out, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(out, p)
		name := filepath.ToSlash(rel)
		if base := path.Base(name); base == "adapter_model.safetensors" || base == "adapter_config.json" || path.Ext(name) == ".parquet" {
			sum := sha256.Sum256(bytes.ReplaceAll(raw, []byte(work), []byte("WORK")))
			sums[name] = hex.EncodeToString(sum[:])
		}
		if want.Keys[name] != nil {
			var v any
			if err := json.Unmarshal(raw, &v); err != nil {
				return err
			}
			all := map[string]bool{}
			jsonKeys(v, "", all)
			keys[name] = slices.Sorted(maps.Keys(all))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(want.SHA256)) {
		if c.Then != nil && strings.HasPrefix(name, "shards/train-") {
			anew, n := strings.TrimSuffix(name, ".parquet")+"-", len(sums)
			maps.DeleteFunc(sums, func(name, _ string) bool { return strings.HasPrefix(name, anew) })
			if n != len(sums)+1 || sums[name] != "" {
				t.Errorf("%s holds what was forgotten, and %d shards stand in its place", name, n-len(sums))
			}
			continue
		}
		if got := sums[name]; got != want.SHA256[name] {
			t.Errorf("%s has other bytes", name)
		}
		delete(sums, name)
	}
	for name := range sums {
		t.Errorf("%s is not what the version before leaves", name)
	}
	for name, ks := range want.Keys {
		got := slices.DeleteFunc(keys[name], func(k string) bool { return slices.Contains(keysSince, k) && !slices.Contains(ks, k) })
		if !slices.Equal(got, ks) {
			t.Errorf("%s has the keys %v, want %v", name, got, ks)
		}
	}
}

// changedByForget are files that forget makes anew: that commit's left documents in the shards, today's takes them out.
var changedByForget = regexp.MustCompile(`^(adapters/.*|shards/train-.*|stages/prepare-train\.json)$`)

// keptParts are files that are whole once they are there, and which nothing changes afterwards.
var keptParts = regexp.MustCompile(`^(stages/.*\.json|(shards|eval/\w+)/.*\.parquet|versions/.*|adapters/.*)$`)

// finishedPart says whether a run that goes on must find a file done: those of a key's adapter, once its metrics.json is there, too.
func finishedPart(name string, files map[string]string) bool {
	if !keptParts.MatchString(name) || strings.Contains(name, ".tmp-") {
		return false
	}
	switch dir, _, _ := strings.Cut(name, "/"); dir {
	case "adapters":
		return files[path.Join(path.Dir(name), "metrics.json")] != ""
	case "versions": // the newest may be on its way
		return files[path.Join("versions", "0002", path.Base(name))] != "" && strings.HasPrefix(name, "versions/0001/")
	case "shards":
		return files["stages/prepare-train.json"] != ""
	case "eval":
		return files["stages/prepare-"+strings.Split(name, "/")[1]+".json"] != ""
	}
	return true
}

// jsonKeys are the keys of a value of JSON; in a list, those of all its entries.
func jsonKeys(v any, at string, keys map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			keys[at+"."+k] = true
			jsonKeys(x, at+"."+k, keys)
		}
	case []any:
		for _, x := range v {
			jsonKeys(x, at+"[]", keys)
		}
	}
}
