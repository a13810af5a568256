package prepare

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	core "github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/transforms/jobs"
)

type goldenDoc struct {
	ID, Text string
	File     *int
	Doc      int
}

func decodeGzip[T any](t *testing.T, path string) (out []T) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(z); d.More(); {
		var x T
		if err := d.Decode(&x); err != nil {
			t.Fatal(err)
		}
		out = append(out, x)
	}
	return out
}

// rejected reads the dead letters of a run.
func rejected(t *testing.T, res *Result) (out []datasets.Reject) {
	t.Helper()
	for _, f := range res.RejectFiles {
		if err := datasets.ReadRejects(f, func(r *datasets.Reject) bool { out = append(out, *r); return true }); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func step(name string, kv ...any) map[string]any {
	m := map[string]any{"rule": name}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i].(string)] = kv[i+1]
	}
	return m
}

// TestGoldenDedupe runs the steps over datatrove's documents as its runs had them, and compares what is removed.
func TestGoldenDedupe(t *testing.T) {
	dir := filepath.Join(golden.Root(t, "../../datasets/dedupe/testdata"), "datatrove")
	result := filepath.Join(dir, "minhash_xxhash64_result.json.gz")
	if _, err := os.Stat(result); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the results need all documents: set ADAPTFLOW_GOLDEN")
	}
	in := t.TempDir()
	ids := map[string]string{}
	files := map[int]*strings.Builder{}
	for _, d := range decodeGzip[goldenDoc](t, filepath.Join(dir, "docs.jsonl.gz")) {
		if d.File == nil || d.Text == "" {
			// out of scope: reading rejects documents without text; the line stays, so that the others keep their numbers
			if d.File != nil {
				files[*d.File].WriteString("{}\n")
			}
			continue
		}
		b, _ := json.Marshal(map[string]string{"text": d.Text})
		if files[*d.File] == nil {
			files[*d.File] = &strings.Builder{}
		}
		files[*d.File].Write(append(b, '\n'))
		ids[datasets.DocID(fmt.Sprintf("%05d.jsonl", *d.File), int64(d.Doc))] = d.ID
	}
	for n, b := range files {
		write(t, filepath.Join(in, fmt.Sprintf("%05d.jsonl", n)), b.String())
	}
	tokenizer := byteTokenizer(t)
	removed := func(dedupe ...map[string]any) map[string]bool {
		cfg := config(t, tokenizer, in)
		cfg.Dedupe, cfg.TokensPerShard = dedupe, 1<<20
		out := map[string]bool{}
		res := execute(t, cfg)
		for _, r := range rejected(t, res) {
			if r.Rule != "" {
				out[ids[datasets.DocID(r.Source, r.Index)]] = true
			}
		}
		return out
	}
	known := map[string]bool{}
	for _, id := range ids {
		known[id] = true
	}
	compare := func(what string, got, want map[string]bool) {
		maps.DeleteFunc(want, func(id string, _ bool) bool { return !known[id] })
		if !maps.Equal(got, want) {
			for id := range want {
				if !got[id] {
					t.Errorf("%s: %s is kept", what, id)
				}
			}
			for id := range got {
				if !want[id] {
					t.Errorf("%s: %s is removed", what, id)
				}
			}
		}
		t.Logf("%s: %d cases, %d removed", what, len(ids), len(want))
	}
	for _, hash := range []struct{ file, fc string }{{"minhash_xxhash64", "xxhash"}, {"minhash_sha1_64", "sha1"}} {
		want := map[string]bool{}
		for _, id := range decodeGzip[struct{ Removed []string }](t, filepath.Join(dir, hash.file+"_result.json.gz"))[0].Removed {
			want[id] = true
		}
		compare(hash.file, removed(step("minhash", "hash_config", map[string]any{"hash_fc": hash.fc})), want)
	}
	want := map[string]bool{}
	for _, r := range decodeGzip[struct {
		ID   string
		Kept bool
	}](t, filepath.Join(dir, "exact_dedup.jsonl.gz")) {
		if !r.Kept {
			want[r.ID] = true
		}
	}
	compare("exact_dedup", removed(step("exact")), want)
	clear(want)
	for _, r := range decodeGzip[struct {
		ID   string
		Kept bool
	}](t, filepath.Join(dir, "sentence_dedup.jsonl.gz")) {
		if !r.Kept {
			want[r.ID] = true
		}
	}
	compare("sentence_dedup", removed(step("sentences")), want)
}

// near writes n documents of m files: each third is a copy, or a copy with a word changed, of another.
func near(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	for f := range 3 {
		var b strings.Builder
		for i := range 60 {
			base := i
			if i%3 == 0 {
				base = (i*7 + f) % 30
			}
			var w []string
			for k := range 120 {
				w = append(w, fmt.Sprintf("w%d", (base*131+k*k*7+k*base)%977))
			}
			if i%6 == 0 {
				w[f*20+5] = "changed"
			}
			row, _ := json.Marshal(map[string]string{"text": strings.Join(w, " ") + " .\n\nThe same closing words of every page."})
			b.Write(append(row, '\n'))
			n++
		}
		write(t, filepath.Join(dir, fmt.Sprintf("%d.jsonl", f)), b.String())
	}
	return n
}

// TestStages: nothing is lost between the stages, the shards do not depend on the order of the files, every dead letter says why.
func TestStages(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	n := near(t, in)
	write(t, filepath.Join(in, "z.jsonl"), "{\"text\": \"too short\"}\n{\"text\": 3}\n")
	cfg := config(t, tokenizer, in)
	cfg.Clean = []map[string]any{step("gopher_quality", "min_doc_words", 50, "min_stop_words", 0, "max_non_alpha_words_ratio", 0.5,
		"min_avg_word_length", 1)}
	cfg.Dedupe = []map[string]any{step("exact"), step("paragraphs"), step("minhash", "n_grams", 3)}
	res := execute(t, cfg)
	var names []string
	for i, s := range res.Funnel {
		names = append(names, s.Name)
		left := s.In - s.Kept
		for _, k := range s.Rejected {
			left -= k
		}
		if left != 0 || i > 0 && s.In != res.Funnel[i-1].Kept {
			t.Errorf("%s: %+v", s.Name, s)
		}
	}
	if !slices.Equal(names, []string{"read", "clean", "dedupe-1-exact", "dedupe-2-paragraphs", "dedupe-3-minhash"}) {
		t.Fatalf("%v", names)
	}
	if res.Read != int64(n)+2 || res.Bad() != 1 || res.Rejected["gopher_quality.gopher_short_doc"] != 1 ||
		res.Rejected["exact.duplicate"] == 0 ||
		res.Rejected["minhash.duplicate"] == 0 || res.Funnel[3].Changed == 0 {
		t.Errorf("%+v", res.Funnel)
	}
	letters := rejected(t, res)
	if int64(len(letters)) != res.Read-res.Kept {
		t.Errorf("%d dead letters of %d", len(letters), res.Read-res.Kept)
	}
	for _, r := range letters {
		if r.Source == "" || r.Reason == "" || r.Rule != "" && (r.Value == "" || r.Threshold == "" || len(r.Record) == 0) {
			t.Errorf("%+v", r)
		}
	}
	m, err := datasets.ReadManifest(cfg.OutDir)
	if err != nil || len(m.Funnel) != 5 {
		t.Errorf("%+v, %v", m, err)
	}
	turned := cfg
	files, _ := filepath.Glob(filepath.Join(in, "*"))
	slices.Reverse(files)
	turned.Inputs = files
	dir := t.TempDir()
	turned.OutDir, turned.RejectsDir, turned.StagedDir = filepath.Join(dir, "o"), filepath.Join(dir, "r"), filepath.Join(dir, "s")
	again := execute(t, turned)
	if !slices.Equal(hashes(res), hashes(again)) {
		t.Errorf("the order of the files changes the shards:\n%v\n%v", hashes(res), hashes(again))
	}
	if left, err := os.ReadDir(turned.StagedDir); err == nil {
		t.Errorf("left: %v", left)
	}
}

// TestDedupeLimits: how much a task of deduplication has to do changes neither the shards nor the dead letters, and the jobs are as many.
func TestDedupeLimits(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	near(t, in)
	type outcome struct {
		shards, letters []string
		jobs            int
	}
	run := func(limits core.Limits) (o outcome) {
		cfg := config(t, tokenizer, in)
		cfg.Dedupe = []map[string]any{step("exact"), step("sentences", "n_sentences", 1, "min_doc_words", 5, "min_num_sentences", 0),
			step("minhash", "n_grams", 3)}
		cfg.DedupeLimits = limits
		res, err := Execute(t.Context(), cfg, func(ctx context.Context, p *beam.Pipeline, name string) error {
			o.jobs++
			return jobs.Prism(ctx, p, name)
		})
		if err != nil {
			t.Fatal(err)
		}
		o.shards = hashes(res)
		for _, r := range rejected(t, res) {
			o.letters = append(o.letters, fmt.Sprintf("%+v", r))
		}
		slices.Sort(o.letters)
		return o
	}
	want := run(core.Limits{})
	if len(want.letters) < 20 {
		t.Fatalf("%d dead letters", len(want.letters))
	}
	for _, l := range []core.Limits{
		{Fan: 2, RangeRecords: 10, PartLinks: 20, SpillBytes: 500, FileRemovals: 5},
		{Fan: 1, RangeRecords: 40, Rounds: 1},
	} {
		if got := run(l); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v: %d shards, %d dead letters, %d jobs; want %d, %d, %d, or they differ", l, len(got.shards), len(got.letters),
				got.jobs, len(want.shards), len(want.letters), want.jobs)
		}
	}
}

// TestIncremental: what an earlier run has seen is removed from a later one, and the later index holds both.
func TestIncremental(t *testing.T) {
	tokenizer, in, work := byteTokenizer(t), t.TempDir(), t.TempDir()
	near(t, in)
	for _, name := range []string{"exact", "minhash"} {
		run := func(file, index, save string) *Result {
			cfg := config(t, tokenizer, in)
			cfg.Inputs = []string{filepath.Join(in, file)}
			cfg.Dedupe = []map[string]any{step(name, "index_folder", index, "save_index_folder", save)}
			res, err := Execute(t.Context(), cfg, nil)
			if err != nil {
				if strings.Contains(err.Error(), "all rejected") {
					return &Result{}
				}
				t.Fatal(err)
			}
			return res
		}
		a, b := filepath.Join(work, name+"-a"), filepath.Join(work, name+"-b")
		alone := run("1.jsonl", "", "")
		first := run("0.jsonl", "", a)
		second := run("1.jsonl", a, b)
		if first.Kept == 0 || second.Kept >= alone.Kept {
			t.Errorf("%s: %d kept with an index, %d without", name, second.Kept, alone.Kept)
		}
		for _, file := range []string{"0.jsonl", "1.jsonl"} {
			if again := run(file, b, ""); again.Kept != 0 {
				t.Errorf("%s: %d documents of %s are not in the index of both", name, again.Kept, file)
			}
		}
		cfg := config(t, tokenizer, in)
		cfg.Dedupe = []map[string]any{step(name, "index_folder", a, "hash_config", map[string]any{"hash_fc": "sha1"})}
		if _, err := Execute(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), "other settings") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWrongStages(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	corpus(t, in)
	for want, edit := range map[string]func(*Config){
		`cleaning rule "gopher" is unknown`:     func(c *Config) { c.Clean = []map[string]any{step("gopher")} },
		`unknown key "min_words"`:               func(c *Config) { c.Clean = []map[string]any{step("gopher_quality", "min_words", 3)} },
		`deduplication step "fuzzy" is unknown`: func(c *Config) { c.Dedupe = []map[string]any{step("fuzzy")} },
		`not a code of ISO 639`:                 func(c *Config) { c.Clean, c.Language = []map[string]any{step("c4")}, "english" },
		`index_folder /none holds no finished`:  func(c *Config) { c.Dedupe = []map[string]any{step("exact", "index_folder", "/none")} },
		`index_folder and save_index_folder are`: func(c *Config) {
			c.Dedupe = []map[string]any{step("exact", "index_folder", "x", "save_index_folder", "x")}
		},
	} {
		cfg := config(t, tokenizer, in)
		edit(&cfg)
		if _, err := Execute(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
