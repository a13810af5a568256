package perkey

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
)

// twin1 and twin2 had one folder in versions that named folders by 40 bits: found among 2²⁰ keys of one slug.
const twin1, twin2 = "ann)?|)!!", "ann[%/@!!"

// name40 is the name that those versions gave a key's folder.
func name40(key string) string {
	sum := sha256.Sum256([]byte(key))
	s := strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_') {
			return r
		}
		return '-'
	}, key)
	return s[:min(40, len(s))] + "-" + hex.EncodeToString(sum[:5])
}

// of are n training examples and a held-out one of a key.
func of(key string, n int) (out []keyExample) {
	for i := range n + 1 {
		e := Example{ID: fmt.Sprintf("%x#%d", key, i), Source: "s", End: 9, Eval: i == n}
		for t := range 4 + i%5 {
			e.InputIDs = append(e.InputIDs, int32(3+(i*37+int(key[len(key)/2])*11+t*t*13)%230))
		}
		out = append(out, keyExample{key, e})
	}
	return out
}

// earlier gives the folders of keys the names of an earlier version.
func earlier(t *testing.T, cfg Config, keys ...string) {
	t.Helper()
	for _, key := range keys {
		to := filepath.Join(cfg.OutDir, name40(key))
		if err := os.Rename(filepath.Join(cfg.OutDir, KeyName(key)), to); err != nil {
			t.Fatal(err)
		}
		r, err := ReadResult(to)
		if err != nil {
			t.Fatal(err)
		}
		r.Dir = filepath.Base(to)
		raw, _ := json.Marshal(r)
		if err := os.WriteFile(filepath.Join(to, MetricsFile), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func folders(t *testing.T, dir string) (out []string) {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		out = append(out, e.Name())
	}
	return out
}

func names(keys ...string) (out []string) {
	for _, k := range keys {
		out = append(out, KeyName(k))
	}
	slices.Sort(out)
	return out
}

// TestKeysOfOneShortHash: two keys that shared a folder have one each, which says whose it is; also where one of them is taken from an
// earlier version, goes on from it, or has too little data.
func TestKeysOfOneShortHash(t *testing.T) {
	if name40(twin1) != name40(twin2) {
		t.Fatal("the twins are none")
	}
	both := append(of(twin1, 4), of(twin2, 5)...)
	cfg := config(t)
	res := trainAll(t, cfg, both, 2)
	for key, n := range map[string]int{twin1: 4, twin2: 5} {
		r, err := ReadResult(filepath.Join(cfg.OutDir, res[key].Dir))
		if err != nil || r.Key != key || r.Sequences != n {
			t.Errorf("the folder of %q is of %+v (%v)", key, r, err)
		}
	}
	if got := folders(t, cfg.OutDir); !slices.Equal(got, names(twin1, twin2)) {
		t.Fatalf("folders %v", got)
	}
	first, second := weights(t, cfg, twin1), weights(t, cfg, twin2)

	t.Run("a run of an earlier version goes on", func(t *testing.T) {
		// It has trained three keys and lost twin1's adapter to twin2.
		list := append(append(of("-x", 3), of("Bob", 3)...), both...)
		cfg := config(t)
		trainAll(t, cfg, list, 1)
		if err := os.RemoveAll(filepath.Join(cfg.OutDir, KeyName(twin1))); err != nil {
			t.Fatal(err)
		}
		earlier(t, cfg, "-x", "Bob", twin2)
		var trained []string
		stop := Watch(cfg.OutDir, func(r *Result) { trained = append(trained, r.Key) })
		res := trainAll(t, cfg, list, 1)
		stop()
		if !slices.Equal(trained, []string{twin1}) {
			t.Errorf("trained %q, want only the key that was lost", trained)
		}
		for _, key := range []string{"-x", "Bob", twin2} {
			if res[key].Dir != name40(key) || res[key].Key != key {
				t.Errorf("%q: %+v, want its folder of before", key, res[key])
			}
		}
		if !bytes.Equal(weights(t, cfg, twin1), first) {
			t.Error("the lost key has another adapter than alone")
		}
		// Forgetting a document of a key whose folder has an earlier name: the new adapter replaces it.
		cfg.Forget = []string{fmt.Sprintf("%x#1", twin2)}
		trained = nil
		stop = Watch(cfg.OutDir, func(r *Result) { trained = append(trained, r.Key) })
		trainAll(t, cfg, list, 1)
		stop()
		if want := names(twin1, twin2); !slices.Equal(trained, []string{twin2}) || !slices.Contains(folders(t, cfg.OutDir), want[0]) ||
			len(folders(t, cfg.OutDir)) != 4 ||
			slices.Contains(folders(t, cfg.OutDir), name40(twin2)) {
			t.Errorf("trained %q, folders %v", trained, folders(t, cfg.OutDir))
		}
	})
	t.Run("too little data", func(t *testing.T) {
		cfg := config(t)
		trainAll(t, cfg, of(twin2, 5), 1)
		earlier(t, cfg, twin2)
		res := trainAll(t, cfg, append(of(twin1, 1), of(twin2, 5)...), 1)
		if res[twin1].Skipped != ReasonTooFew || res[twin2].Dir != name40(twin2) {
			t.Errorf("%+v %+v", res[twin1], res[twin2])
		}
		if got := folders(t, cfg.OutDir); !slices.Equal(got, []string{name40(twin2)}) {
			t.Errorf("folders %v: the other key's adapter went", got)
		}
		trainAll(t, cfg, of(twin2, 1), 1)
		if got := folders(t, cfg.OutDir); len(got) != 0 {
			t.Errorf("folders %v: the adapter of a key with too little data stays", got)
		}
	})
	t.Run("earlier adapters to start from", func(t *testing.T) {
		old := config(t)
		trainAll(t, old, append(of(twin2, 5), of("Bob", 3)...), 1)
		earlier(t, old, twin2, "Bob")
		cfg := config(t)
		cfg.InitAdapters = old.OutDir
		res := trainAll(t, cfg, append(both, of("Bob", 3)...), 1)
		if res[twin1].Warm || !res[twin2].Warm || !res["Bob"].Warm {
			t.Errorf("warm starts: %t %t %t, want only twin2's and Bob's", res[twin1].Warm, res[twin2].Warm, res["Bob"].Warm)
		}
		if !bytes.Equal(weights(t, cfg, twin1), first) || bytes.Equal(weights(t, cfg, twin2), second) {
			t.Error("a key started from another's adapter, or not from its own")
		}
		if err := os.Remove(filepath.Join(old.OutDir, name40("Bob"), MetricsFile)); err != nil {
			t.Fatal(err)
		}
		if _, err := InitFolder(old.OutDir, "Bob"); err == nil || !strings.Contains(err.Error(), MetricsFile) {
			t.Errorf("a folder that does not say whose it is: %v", err)
		}
	})
	t.Run("a folder of another key", func(t *testing.T) {
		cfg := config(t)
		trainAll(t, cfg, of(twin1, 4), 1)
		if err := os.Rename(filepath.Join(cfg.OutDir, KeyName(twin1)), filepath.Join(cfg.OutDir, KeyName("eve"))); err != nil {
			t.Fatal(err)
		}
		if _, err := InitFolder(cfg.OutDir, "eve"); err == nil || !strings.Contains(err.Error(), "ann)") {
			t.Errorf("init: %v", err)
		}
		if _, err := findHome(cfg.OutDir, "eve", ""); err == nil || !strings.Contains(err.Error(), "ann)") {
			t.Errorf("output: %v", err)
		}
	})
}

// TestKeyName: names are plain everywhere and differ where the keys do.
func TestKeyName(t *testing.T) {
	keys := []string{"ann", "Ann", "ANN", "ann ", "-rf", "--help", ".", "..", ".ssh", "/etc/passwd", `C:\x`, "CON", "nul.txt", "aux",
		"COM1", "a/b", "a-b", "a_b", "é", "e\u0301", "ﬁ", "fi", "",
		" ", "\x00", "a\nb", "*", "日本", strings.Repeat("x", 300), strings.Repeat("x", 301), strings.Repeat("é", 5000), twin1, twin2,
		"~root", "$HOME", "%PATH%", "a.", "_"}
	seen := map[string]string{}
	for _, k := range keys {
		n := KeyName(k)
		if len(n) < 32 || len(n) > 80 || strings.Trim(n, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" ||
			n[0] == '-' {
			t.Errorf("%q has the folder %q", k, n)
		}
		if o, ok := seen[strings.ToLower(n)]; ok {
			t.Errorf("%q and %q have the folder %q where case is one", o, k, n)
		}
		seen[strings.ToLower(n)] = k
	}
	if n := KeyName("Ann Lee"); !strings.HasPrefix(n, "Ann-Lee-") {
		t.Errorf("%q cannot be read", n)
	}
}

// TestKeyNotUTF8: keys that no JSON can name are dead letters, apart.
func TestKeyNotUTF8(t *testing.T) {
	cfg := config(t)
	cfg.Job.Args.NumTrainEpochs = 1
	res := trainAll(t, cfg, append(append(of("a\xff", 3), of("a\xfe", 3)...), of("a\ufffd", 3)...), 1)
	if len(res) != 3 || res[`"a\xff"`].Skipped != ReasonBadKey || res[`"a\xfe"`].Skipped != ReasonBadKey || res["a\ufffd"].Dir == "" {
		t.Errorf("%+v", res)
	}
	all, err := Results(cfg.WorkDir)
	if err != nil || len(all) != 3 {
		t.Errorf("%v: %+v", err, all)
	}
	files, _ := filepath.Glob(filepath.Join(cfg.RejectsDir, "*.zst"))
	dead := 0
	for _, f := range files {
		if err := datasets.ReadRejects(f, func(r *datasets.Reject) bool { dead++; return r.Reason == ReasonBadKey }); err != nil {
			t.Fatal(err)
		}
	}
	if len(files) != 2 || dead != 6 {
		t.Errorf("%d dead letters in %v", dead, files)
	}
}
