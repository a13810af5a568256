package prepare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"
	"github.com/klauspost/compress/zstd"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/transforms/pack"
	"github.com/adaptflow/adaptflow/transforms/remote"
	"github.com/adaptflow/adaptflow/transforms/stage"
	tokens "github.com/adaptflow/adaptflow/transforms/tokenize"
)

const eos = 256

// byteTokenizer writes a tokenizer.json with a token for each byte, and <eos>.
func byteTokenizer(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	vocab := map[string]int{}
	n := 0
	for b := range 256 {
		r := rune(b)
		if !(b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae) {
			r = rune(256 + n)
			n++
		}
		vocab[string(r)] = b
	}
	level := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	b, err := json.Marshal(map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "normalizer": nil, "pre_tokenizer": level,
		"post_processor": nil, "decoder": level,
		"added_tokens": []any{map[string]any{"id": eos, "content": "<eos>", "single_word": false, "lstrip": false, "rstrip": false,
			"normalized": false, "special": true}},
		"model": map[string]any{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil,
			"end_of_word_suffix": nil, "fuse_unk": false,
			"byte_fallback": false, "vocab": vocab, "merges": []string{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tokenizer.json"), string(b))
	write(t, filepath.Join(dir, "tokenizer_config.json"), `{"eos_token": "<eos>"}`)
	return dir
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// corpus writes three files with 120 good documents and 3 bad records, and returns the text of each document by its id.
func corpus(t *testing.T, dir string) map[string]string {
	t.Helper()
	want := map[string]string{}
	var lines, jsonl strings.Builder
	for i := range 80 {
		text := fmt.Sprintf("Line %d says grüße %s.", i, strings.Repeat("word ", i%13))
		want[datasets.DocID("a.txt", int64(i))] = text
		lines.WriteString(text + "\n")
	}
	for i := range 40 {
		text := fmt.Sprintf("Object %d: %s", i, strings.Repeat("longer text, ", i))
		want[datasets.DocID("b.jsonl", int64(i))] = text
		b, _ := json.Marshal(map[string]string{"text": text})
		jsonl.Write(append(b, '\n'))
	}
	jsonl.WriteString("{\"text\": null}\n{\"text\": \"cut")
	write(t, filepath.Join(dir, "a.txt"), lines.String())
	write(t, filepath.Join(dir, "b.jsonl"), jsonl.String())
	write(t, filepath.Join(dir, "c.txt"), "latin-1: \xe9\n")
	return want
}

func config(t *testing.T, tokenizer, in string) Config {
	out := t.TempDir()
	return Config{Inputs: []string{filepath.Join(in, "*")}, TokenizerDir: tokenizer, Prepare: recipe.Prepare{TokensPerShard: 2000,
		PackOptions: datasets.PackOptions{SequenceLength: 64, Strategy: datasets.PackBFDSplit, IsolateDocuments: true}},
		Seed: 11, Shares: recipe.Shares{ValidationFraction: 0.1, MaxBadFraction: 0.5}, Version: "test",
		OutDir: filepath.Join(out, "shards"), RejectsDir: filepath.Join(out, "rejects"), StagedDir: filepath.Join(out, "staged")}
}

func execute(t *testing.T, cfg Config) *Result {
	t.Helper()
	res, err := Execute(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func sequences(t *testing.T, refs []ShardRef) []datasets.Sequence {
	t.Helper()
	var out []datasets.Sequence
	for _, r := range refs {
		if h, err := storage.SHA256File(r.Path); err != nil || h != r.SHA256 {
			t.Fatalf("%s: %s, %v", r.Path, h, err)
		}
		s, err := datasets.OpenShard(r.Path)
		if err != nil {
			t.Fatal(err)
		}
		for g := range s.NumRowGroups() {
			rows, err := s.ReadRowGroup(g)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, rows...)
		}
		s.Close()
	}
	return out
}

// TestEveryDocumentArrives: the shards' tokens are, document by document, those of the texts; spans point at the text; counts add up.
func TestEveryDocumentArrives(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	want := corpus(t, in)
	cfg := config(t, tokenizer, in)
	res := execute(t, cfg)
	if res.Read != 123 || res.Kept != 120 || !maps.Equal(res.Rejected,
		map[string]int64{datasets.ReasonNullText: 1, datasets.ReasonTruncatedRecord: 1, datasets.ReasonInvalidUTF8: 1}) {
		t.Fatalf("%+v", res)
	}
	if len(res.Train) < 2 || len(res.Validation) != 1 || res.FillRate < 0.9 {
		t.Fatalf("%d train, %d validation shards, fill rate %g", len(res.Train), len(res.Validation), res.FillRate)
	}
	tk, err := tokenize.Load(tokenizer)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]map[int32]string{} // document → start of a piece → its text
	split := map[string]string{}
	var tokens int64
	for name, refs := range map[string][]ShardRef{"train": res.Train, "validation": res.Validation} {
		for _, s := range sequences(t, refs) {
			tokens += int64(len(s.InputIDs))
			for k, id := range s.DocIDs {
				end := len(s.InputIDs)
				if k+1 < len(s.DocStarts) {
					end = int(s.DocStarts[k+1])
				}
				ids := s.InputIDs[s.DocStarts[k]:end]
				if len(ids) == 1 && ids[0] == eos && s.DocSpans[k] != [2]int32{int32(len([]rune(want[id]))), int32(len([]rune(want[id])))} {
					t.Errorf("%s: the end-of-text token alone has the span %v", id, s.DocSpans[k])
				}
				if got[id] == nil {
					got[id] = map[int32]string{}
				}
				got[id][s.DocSpans[k][0]] += string([]rune(want[id])[s.DocSpans[k][0]:s.DocSpans[k][1]])
				if other, ok := split[id]; ok && other != name {
					t.Errorf("%s is in both splits", id)
				}
				split[id] = name
				if s.Labels[s.DocStarts[k]] != datasets.NoLoss {
					t.Errorf("%s: the first token has a loss", id)
				}
				if len(want[id]) < 60 { // whole in one piece
					full, _ := tk.AppendIDs(nil, want[id], false)
					if !slices.Equal(ids, append(full, eos)) {
						t.Errorf("%s: %v, want %v", id, ids, full)
					}
				}
			}
		}
	}
	if tokens != res.Tokens {
		t.Errorf("%d tokens, the result says %d", tokens, res.Tokens)
	}
	for id, text := range want {
		at := slices.Sorted(maps.Keys(got[id]))
		whole := ""
		for _, a := range at {
			whole += got[id][a]
		}
		if whole != text {
			t.Errorf("%s: %q, want %q", id, whole, text)
		}
	}
	m, err := datasets.ReadManifest(cfg.OutDir)
	if err != nil || m.Kept != 120 || len(m.Train) != len(res.Train) || m.Tokens != tokens {
		t.Fatalf("%+v %v", m, err)
	}
	if _, err := os.Stat(cfg.StagedDir); !os.IsNotExist(err) {
		t.Errorf("staged files are left: %v", err)
	}
}

func TestRejectsAreWritten(t *testing.T) {
	in := t.TempDir()
	corpus(t, in)
	cfg := config(t, byteTokenizer(t), in)
	res := execute(t, cfg)
	if len(res.RejectFiles) != 2 {
		t.Fatalf("%v", res.RejectFiles)
	}
	counts := map[string]int64{}
	for _, p := range res.RejectFiles {
		f, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		z, err := zstd.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		for d := json.NewDecoder(z); d.More(); {
			var r datasets.Reject
			if err := d.Decode(&r); err != nil {
				t.Fatal(err)
			}
			if len(r.Record) == 0 || r.Source == "" {
				t.Errorf("%+v", r)
			}
			counts[r.Reason]++
		}
		z.Close()
		f.Close()
	}
	if !maps.Equal(counts, res.Rejected) {
		t.Fatalf("%v, want %v", counts, res.Rejected)
	}
}

func hashes(res *Result) (out []string) {
	for _, r := range append(slices.Clone(res.Train), res.Validation...) {
		out = append(out, filepath.Base(r.Path)+" "+r.SHA256)
	}
	return out
}

// TestSameBytes: the shards do not depend on the order in which files are named, nor on how often the work is done.
func TestSameBytes(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	corpus(t, in)
	cfg := config(t, tokenizer, in)
	first := hashes(execute(t, cfg))
	if again := hashes(execute(t, cfg)); !slices.Equal(first, again) {
		t.Fatalf("a second run in the same folder:\n%v\n%v", first, again)
	}
	other := config(t, tokenizer, in)
	other.Inputs = nil
	for _, n := range []string{"c.txt", "b.jsonl", "a.txt"} {
		other.Inputs = append(other.Inputs, filepath.Join(in, n))
	}
	if h := hashes(execute(t, other)); !slices.Equal(first, h) {
		t.Fatalf("files in another order:\n%v\n%v", first, h)
	}
	other.Seed++
	if h := hashes(execute(t, other)); slices.Equal(first, h) {
		t.Fatal("the seed changes nothing")
	}
}

// TestBundles: a shard's bytes do not depend on how its references are cut into parts, nor on the order in which they arrive.
func TestBundles(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	corpus(t, in)
	cfg := config(t, tokenizer, in)
	cfg.KeepStaged, cfg.TokensPerShard, cfg.ValidationFraction = true, 1<<20, 0
	res := execute(t, cfg)
	sums, err := stage.ReadKept((&driver{cfg: cfg}).list(tokens.Name))
	if err != nil {
		t.Fatal(err)
	}
	plan := pack.Plan{Train: 1}
	var parts []pack.Part
	for _, p := range sums {
		route := &pack.RouteFn{Plan: plan}
		if err := stagedOf(p, func(in pack.Staged) {
			if err := route.ProcessElement(t.Context(), in, nil, nil); err != nil {
				t.Fatal(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if err := route.FinishBundle(t.Context(), func(_ int, p pack.Part) { parts = append(parts, p) }, func(string) {}); err != nil {
			t.Fatal(err)
		}
	}
	slices.Reverse(parts)
	out := t.TempDir()
	fn := &pack.ShardFn{Plan: plan, Options: cfg.pack(), OutDir: out, InfoDir: out,
		Meta: datasets.ShardMeta{Kind: datasets.KindLM, SequenceLength: cfg.SequenceLength,
			Packing: cfg.Strategy, IsolateDocuments: true, Seed: cfg.Seed, Version: cfg.Version}}
	tk, _ := tokenize.Load(tokenizer)
	fn.Meta.TokenizerHash = tk.Hash()
	at := 0
	next := func(p *pack.Part) bool {
		if at == len(parts) {
			return false
		}
		*p = parts[at]
		at++
		return true
	}
	packed := func() error {
		fn.StartBundle(t.Context(), nil)
		if err := fn.ProcessElement(t.Context(), 0, next, nil); err != nil {
			t.Fatal(err)
		}
		return fn.FinishBundle(t.Context(), func(string) {})
	}
	if err := packed(); err != nil {
		t.Fatal(err)
	}
	if h, err := storage.SHA256File(filepath.Join(out, plan.FileName(0))); err != nil || h != res.Train[0].SHA256 {
		t.Fatalf("%s, want %s; %v", h, res.Train[0].SHA256, err)
	}
	parts, at = append(parts, parts[0]), 0
	if err := packed(); err == nil {
		t.Fatal("a part that came twice was packed twice")
	}
}

// TestFileOrder is the packing of the reference runs: one stream in the order of the input, cut into blocks, the rest dropped.
func TestFileOrder(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	corpus(t, in)
	cfg := config(t, tokenizer, in)
	cfg.Inputs = []string{filepath.Join(in, "b.jsonl"), filepath.Join(in, "a.txt")}
	cfg.Order, cfg.Strategy, cfg.IsolateDocuments, cfg.DropLast, cfg.ValidationFraction = OrderFile, datasets.PackWrapped, false, true, 0
	res := execute(t, cfg)
	want := corpus(t, t.TempDir())
	var stream []int32
	for _, src := range []struct {
		name string
		n    int64
	}{{"b.jsonl", 40}, {"a.txt", 80}} {
		for i := range src.n {
			for _, b := range []byte(want[datasets.DocID(src.name, i)]) {
				stream = append(stream, int32(b))
			}
			stream = append(stream, eos)
		}
	}
	seqs := sequences(t, res.Train)
	if len(res.Train) != 1 || len(seqs) != len(stream)/64 || res.Dropped != int64(len(stream)%64) {
		t.Fatalf("%d shards, %d blocks of %d tokens, %d dropped", len(res.Train), len(seqs), len(stream), res.Dropped)
	}
	for i, s := range seqs {
		if !slices.Equal(s.InputIDs, stream[64*i:64*i+64]) || len(s.DocStarts) != 1 {
			t.Fatalf("block %d differs", i)
		}
	}
}

func TestWrongInput(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	corpus(t, in)
	write(t, filepath.Join(in, "empty", "e.txt"), "")
	write(t, filepath.Join(in, "bad", "b.jsonl"), "{\n[]\n")
	write(t, filepath.Join(in, "bad", "p.parquet"), "PAR1 cut")
	for name, c := range map[string]struct {
		edit func(*Config)
		want string
	}{
		"missing":      {func(c *Config) { c.Inputs = []string{filepath.Join(in, "none.txt")} }, "none.txt"},
		"empty":        {func(c *Config) { c.Inputs = []string{filepath.Join(in, "empty", "*")} }, "e.txt: there is no text"},
		"all rejected": {func(c *Config) { c.Inputs = []string{filepath.Join(in, "bad", "*")} }, "truncated_file 1"},
		"no inputs":    {func(c *Config) { c.Inputs = nil }, "no input"},
		"packing":      {func(c *Config) { c.Strategy = "ffd" }, "ffd"},
		"order":        {func(c *Config) { c.Order = "random" }, "random"},
		"bos":          {func(c *Config) { c.Ends.BOS = tokenize.Yes }, "bos_token"},
		"tokenizer":    {func(c *Config) { c.TokenizerDir = in }, "tokenizer.json"},
		"fraction":     {func(c *Config) { c.ValidationFraction = 1 }, "validation_fraction"},
		"output":       {func(c *Config) { c.OutDir = filepath.Join(in, "a.txt", "x") }, "a.txt"},
	} {
		cfg := config(t, tokenizer, in)
		c.edit(&cfg)
		_, err := Execute(t.Context(), cfg, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if _, err := os.Stat(filepath.Join(cfg.OutDir, datasets.ManifestName)); err == nil {
			t.Errorf("%s: a manifest was written", name)
		}
	}
	cfg := config(t, tokenizer, in)
	cfg.MaxBadFraction = 0.01
	res, err := Execute(t.Context(), cfg, nil)
	var bad *TooManyBadError
	if !errors.Is(err, ErrTooManyBad) || !errors.As(err, &bad) || bad.Bad != 3 || res == nil || res.Kept != 120 {
		t.Fatalf("%+v, %v", res, err)
	}
	failing := errors.New("the runner fails")
	if _, err := Execute(t.Context(), config(t, tokenizer, in),
		func(context.Context, *beam.Pipeline, string) error { return failing }); !errors.Is(err, failing) {
		t.Fatalf("%v", err)
	}
}

// TestRemote: input and output on an object store give the same shards.
func TestRemote(t *testing.T) {
	remote.Bind("memfs")
	tokenizer, in := byteTokenizer(t), t.TempDir()
	corpus(t, in)
	cfg := config(t, tokenizer, in)
	var want []string
	for _, h := range hashes(execute(t, cfg)) { // where nothing is renamed, a shard's name has the hash of its content
		name, sum, _ := strings.Cut(h, " ")
		want = append(want, strings.TrimSuffix(name, ".parquet")+"-"+sum[:12]+".parquet "+sum)
	}
	files, _ := filepath.Glob(filepath.Join(in, "*"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := storage.WriteFile("memfs://in/"+filepath.Base(f), b); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Inputs = []string{"memfs://in/*"}
	cfg.OutDir, cfg.RejectsDir, cfg.StagedDir = "memfs://out/shards", "memfs://out/rejects", "memfs://out/staged"
	res := execute(t, cfg)
	var got []string
	for _, r := range append(slices.Clone(res.Train), res.Validation...) {
		got = append(got, r.Path[strings.LastIndexByte(r.Path, '/')+1:]+" "+r.SHA256)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%v\n%v", got, want)
	}
	if left, err := storage.Glob("memfs://out/staged/tokens/*"); err == nil {
		t.Errorf("left: %v", left)
	}
	if _, err := storage.OpenReaderAt("memfs://out/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	cfg.Inputs = []string{"memfs://in/none*"}
	if _, err := Execute(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), "none*") {
		t.Errorf("%v", err)
	}
}

// TestOneDocument cannot be split.
func TestOneDocument(t *testing.T) {
	in := t.TempDir()
	write(t, filepath.Join(in, "a.txt"), "only one line\n")
	res := execute(t, config(t, byteTokenizer(t), in))
	if len(res.Train) != 1 || len(res.Validation) != 0 || res.Sequences != 1 {
		t.Fatalf("%+v", res)
	}
}
