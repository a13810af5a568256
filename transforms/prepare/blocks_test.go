package prepare

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/adaptflow/adaptflow/datasets"
)

// TestBlocks: shards, dead letters and counts are the same however large files are cut, with documents in either order.
func TestBlocks(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	n := near(t, in)
	var framed bytes.Buffer
	z, err := zstd.NewWriter(&framed)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		fmt.Fprintf(z, "{\"text\": \"Text %d of frames. %s\"}\n{\"text\": null}\n", i, strings.Repeat("Many words. ", i))
		if i%10 == 0 {
			z.Close()
			z.Reset(&framed)
		}
	}
	z.Close()
	write(t, filepath.Join(in, "framed.jsonl.zst"), framed.String())
	for _, order := range []string{OrderHash, OrderFile} {
		run := func(size int64) (*Result, map[string][]byte) {
			cfg := config(t, tokenizer, in)
			cfg.Order, cfg.Sizes.Block = order, size
			cfg.Clean = []map[string]any{step("gopher_quality", "min_doc_words", 30, "min_stop_words", 0, "max_non_alpha_words_ratio", 0.5,
				"min_avg_word_length", 1)}
			cfg.Dedupe = []map[string]any{step("exact"), step("minhash", "n_grams", 3)}
			cfg.KeepStaged = true
			res := execute(t, cfg)
			files, err := filepath.Glob(filepath.Join(cfg.StagedDir, "records", "*-b*.parquet"))
			if err != nil || (len(files) > 0) != (size > 0) {
				t.Fatalf("%d staged files of blocks, %v", len(files), err)
			}
			shards := map[string][]byte{}
			for _, s := range append(res.Train, res.Validation...) {
				b, err := os.ReadFile(s.Path)
				if err != nil {
					t.Fatal(err)
				}
				shards[filepath.Base(s.Path)] = b
			}
			m, err := datasets.ReadManifest(cfg.OutDir)
			if err != nil {
				t.Fatal(err)
			}
			if shards["manifest"] = []byte(fmt.Sprintf("%+v", m.Funnel)); len(res.Layouts) == 0 || m.Read != int64(n+200) {
				t.Errorf("%+v", m)
			}
			return res, shards
		}
		res, want := run(0)
		for _, size := range []int64{4000} {
			got, shards := run(size)
			if !reflect.DeepEqual(shards, want) {
				t.Errorf("%s order: shards by blocks of %d bytes differ: %v, want %v", order, size, hashes(got), hashes(res))
			}
			if a, b := rejected(t, got), rejected(t, res); len(a) != len(b) || !reflect.DeepEqual(got.Layouts, res.Layouts) ||
				!reflect.DeepEqual(got.Tally, res.Tally) {
				t.Errorf("%s order, blocks of %d bytes: %d dead letters, %v, %+v; want %d, %v, %+v", order, size, len(a), got.Layouts,
					got.Tally, len(b), res.Layouts, res.Tally)
			}
		}
	}
}
