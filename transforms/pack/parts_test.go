package pack_test

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/transforms/jobs/jobstest"
	"github.com/adaptflow/adaptflow/transforms/pack"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

func TestMain(m *testing.M) { jobstest.Main(m) }

// corpus writes files of texts and of rows with a class and a key, and gives the folder.
func corpus(t *testing.T, files, lines int) string {
	t.Helper()
	dir, r := t.TempDir(), rand.New(rand.NewPCG(1, 2))
	for f := range files {
		var texts, rows strings.Builder
		for range lines {
			words := make([]string, 1+r.IntN(30))
			for i := range words {
				words[i] = fmt.Sprintf("word%d", r.IntN(500))
			}
			text := strings.Join(words, " ")
			texts.WriteString(text + "\n")
			fmt.Fprintf(&rows, "{\"text\": %q, \"label\": \"class %d\", \"who\": \"key %d\"}\n", text, r.IntN(3), r.IntN(4))
		}
		for name, b := range map[string]string{fmt.Sprintf("%c-%d.txt", 'a'+f%2, f): texts.String(),
			fmt.Sprintf("rows-%d.jsonl", f): rows.String()} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// TestSameBytes: shards, manifest and dead letters have the same bytes whichever way documents come to their shards: in every order and
// strategy, with validation, keys, classes, copies and what quotas leave out.
func TestSameBytes(t *testing.T) {
	in := corpus(t, 4, 150)
	texts := func(c *prepare.Config) { c.Inputs = []string{filepath.Join(in, "*.txt")} }
	source := func(name string, weight float64) recipe.Source {
		return recipe.Source{MixSource: datasets.MixSource{Name: name, Weight: weight}, Input: []string{filepath.Join(in, name+"-*.txt")}}
	}
	for name, set := range map[string]func(*prepare.Config){
		"hash":    texts,
		"many":    func(c *prepare.Config) { texts(c); c.TokensPerShard = 60 }, // more shards than a level cuts
		"file":    func(c *prepare.Config) { texts(c); c.Order, c.ValidationFraction = prepare.OrderFile, 0 },
		"file-ev": func(c *prepare.Config) { texts(c); c.Order = prepare.OrderFile },
		"wrapped": func(c *prepare.Config) { texts(c); c.Strategy, c.DropLast = datasets.PackWrapped, true },
		"keys": func(c *prepare.Config) {
			c.Inputs, c.KeyColumn = []string{filepath.Join(in, "*.jsonl")}, "who"
		},
		"classes": func(c *prepare.Config) {
			c.Inputs, c.RowKind, c.LabelColumn = []string{filepath.Join(in, "*.jsonl")}, datasets.RowClassification, "label"
		},
		"copies": func(c *prepare.Config) { c.Sources = []recipe.Source{source("a", 1), source("b", 5)} },
		"quotas": func(c *prepare.Config) {
			c.Sources, c.Mix.Strategy = []recipe.Source{source("a", 1), source("b", 3)}, datasets.FirstExhausted
			c.Sources[1].MaxDocuments = 90
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := func(bytes int64) (map[string]string, *prepare.Result) {
				pack.PartsOf(bytes)
				defer pack.PartsOf(0)
				out := t.TempDir()
				cfg := prepare.Config{TokenizerDir: filepath.Join("..", "..", "tokenize", "testdata", "tokenizer"), Seed: 11,
					Version: "test", Prepare: recipe.Prepare{TokensPerShard: 900,
						PackOptions: datasets.PackOptions{SequenceLength: 64, Strategy: datasets.PackBFDSplit, IsolateDocuments: true}},
					Shares: recipe.Shares{ValidationFraction: 0.1, MaxBadFraction: 1},
					OutDir: filepath.Join(out, "shards"), RejectsDir: filepath.Join(out, "rejects"), StagedDir: t.TempDir()}
				set(&cfg)
				cfg.KeepStaged = true
				res, err := prepare.Execute(t.Context(), cfg, nil)
				if err != nil {
					t.Fatal(err)
				}
				used, err := filepath.Glob(filepath.Join(cfg.StagedDir, "packed", "*.parts"))
				cut := slices.ContainsFunc(used, func(p string) bool {
					return strings.HasPrefix(filepath.Base(p), "shards-")
				})
				if err != nil || (len(used) > 0) != (bytes > 0) || cut != (bytes == 2000) {
					t.Fatalf("%d files of parts, %v", len(used), err)
				}
				return contents(t, out), res
			}
			want, direct := run(0)
			if n := len(direct.Train); n < 2 && !strings.HasPrefix(name, "file") || name == "many" && n <= 256 {
				t.Fatalf("%d shards", n)
			}
			for _, bytes := range []int64{1 << 30, 2000} { // all shards in one range, and ranges that are cut to the shards
				got, res := run(bytes)
				if !maps.Equal(got, want) {
					for n := range want {
						if got[n] != want[n] {
							t.Errorf("%s has %d bytes, %d are wanted", n, len(got[n]), len(want[n]))
						}
					}
					t.Errorf("files %v, %v are wanted", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
				}
				if a, b := fmt.Sprint(res.Funnel, res.Rejected), fmt.Sprint(direct.Funnel, direct.Rejected); a != b {
					t.Errorf("%s\n%s is wanted", a, b)
				}
				if (name == "quotas") != (res.Rejected["mix.max_documents"] > 0) {
					t.Errorf("left out: %v", res.Rejected)
				}
			}
		})
	}
}

// contents are the files below a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[rel] = string(b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPlace: places keep the order of shards, no part that is cut by a shard's bits has two shards where those suffice, and a place's shard
// is the one it was made of.
func TestPlace(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 255, 256, 257, 1000, 65536, 65537, 3000000} {
		last := uint64(0)
		for shard := 0; shard < n; shard += 1 + n/1000 {
			first, end := pack.Place(n, shard, 0), pack.Place(n, shard, 1<<64-1)
			if shard > 0 && first <= last || end < first || pack.ShardAt(n, first) != shard || pack.ShardAt(n, end) != shard {
				t.Fatalf("shard %d of %d: %x to %x is %d to %d", shard, n, first, end, pack.ShardAt(n, first), pack.ShardAt(n, end))
			}
			if b := pack.Bits(n); b%8 != 0 || first>>(64-b) != end>>(64-b) || last>>(64-b) == first>>(64-b) && shard > 0 {
				t.Fatalf("shard %d of %d: %x to %x by %d bits", shard, n, first, end, b)
			}
			last = end
		}
		if top := last >> 56; n > 1 && n < 1000 && top < uint64(255-256/n) {
			t.Errorf("%d shards end at %x", n, last)
		}
	}
}

// TestDirect: few shards or few files are packed directly, and no more are read so than the bound.
func TestDirect(t *testing.T) {
	for _, c := range []struct {
		shards int
		files  int64
		want   bool
	}{{1, 1 << 40, true}, {16, 0, true}, {17, 0, false}, {64, 64, true}, {64, 65, false}, {5000, 1, false}, {400, 10, true}} {
		if got := pack.Direct(c.shards, c.files); got != c.want {
			t.Errorf("%d shards of %d files: %v", c.shards, c.files, got)
		}
	}
}
