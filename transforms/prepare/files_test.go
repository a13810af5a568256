package prepare

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/storage/storagetest"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/remote/objects"
)

// away is a runner of workers that do not see a folder of the driver.
func away(dir string) Runner {
	return func(ctx context.Context, p *beam.Pipeline, name string) error {
		hidden := dir + "-hidden"
		if err := os.Rename(dir, hidden); err != nil {
			return err
		}
		err := jobs.Prism(ctx, p, name)
		return errors.Join(err, os.RemoveAll(dir), os.Rename(hidden, dir)) // what a worker wrote there is the worker's
	}
}

// TestFilesOfRulesElsewhere: rules and steps of deduplication that name files give workers that see no folder of the driver's the shards
// and dead letters of a run in a folder, and the index comes back. So do files on an object store.
func TestFilesOfRulesElsewhere(t *testing.T) {
	objects.Register()
	storagetest.StartS3(t, "bucket")
	tokenizer, in := byteTokenizer(t), t.TempDir()
	near(t, in)
	mine := filepath.Join(t.TempDir(), "mine")
	counts := "word,count\n"
	for i := range 488 {
		counts += fmt.Sprintf("w%d,9\n", i)
	}
	for name, text := range map[string]string{"words.csv": counts, "tasks/a.jsonl": `{"q": "nothing here"}` + "\n",
		"tasks/b.jsonl": `{"q": "changed"}` + "\n"} {
		write(t, filepath.Join(mine, name), text)
		if err := storage.CopyFile("s3://bucket/theirs/"+name, filepath.Join(mine, name)); err != nil {
			t.Fatal(err)
		}
	}
	settings := func(cfg *Config, at, index, save string) {
		cfg.Clean = []map[string]any{
			step("decontamination", "n_grams", 1, "tasks", []any{map[string]any{"name": "set", "path": storage.Join(at, "tasks/*.jsonl"),
				"label": "q"}}),
			step("unigram_log_prob", "frequency_file", storage.Join(at, "words.csv"), "logprobs_threshold", -14.5),
			step("rare_words", "frequency_file", storage.Join(at, "words.csv"), "share", 0.5)}
		cfg.Dedupe = []map[string]any{step("exact", "index_folder", index, "save_index_folder", save)}
	}
	seen, _ := filepath.Abs(filepath.Join(mine, "seen"))
	first := config(t, tokenizer, in)
	few := filepath.Join(t.TempDir(), "few.jsonl")
	write(t, few, strings.Join(strings.SplitAfter(string(readFile(t, filepath.Join(in, "1.jsonl"))), "\n")[:12], ""))
	first.Inputs = []string{few}
	settings(&first, mine, "", seen)
	first.Clean = first.Clean[2:]
	execute(t, first)

	local := config(t, tokenizer, in)
	settings(&local, mine, seen, filepath.Join(mine, "saved"))
	want := execute(t, local)
	for _, reason := range []string{"decontamination.contaminated", "unigram_log_prob.unlikely_words", "exact.duplicate"} {
		if want.Rejected[reason] == 0 || want.Kept < 10 {
			t.Errorf("%d are kept, and nothing is refused for %s: %v", want.Kept, reason, want.Rejected)
		}
	}
	share := func(_ context.Context, file string) (string, error) {
		if !storage.IsLocal(file) {
			return file, nil
		}
		sum, err := storage.SHA256File(file)
		to := "s3://bucket/work/" + sum + filepath.Ext(file)
		return to, errors.Join(err, storage.CopyFile(to, file))
	}
	far := config(t, tokenizer, in)
	far.Shared = share
	far.StagedDir = "s3://bucket/staged"
	settings(&far, mine, seen, filepath.Join(mine, "brought"))
	stores := config(t, tokenizer, in)
	settings(&stores, "s3://bucket/theirs", seen, "s3://bucket/index")
	stores.Shared = share
	for name, c := range map[string]struct {
		cfg   Config
		index string
	}{"the driver's": {far, filepath.Join(mine, "brought")}, "a store's": {stores, "s3://bucket/index"}} {
		got, err := Execute(t.Context(), c.cfg, away(mine))
		if err != nil {
			t.Fatal(name, err)
		}
		if !slices.Equal(hashes(got), hashes(want)) {
			t.Errorf("%s: other shards", name)
		}
		if g, w := rejected(t, got), rejected(t, want); !slices.EqualFunc(g, w, sameReject) {
			t.Errorf("%s: other dead letters: %d, want %d", name, len(g), len(w))
		}
		runs, err := storage.Glob(filepath.Join(mine, "saved", "*"))
		if err != nil || len(runs) < 2 {
			t.Fatal(runs, err)
		}
		for _, r := range runs {
			b, err := storage.ReadFile(storage.Join(c.index, filepath.Base(r)))
			if err != nil || string(b) != string(readFile(t, r)) {
				t.Errorf("%s: the index has another %s (%v)", name, filepath.Base(r), err)
			}
		}
	}
	if left, err := storage.Glob("s3://bucket/staged/*/*"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left: %v, %v", left, err)
	}
	settings(&stores, "s3://bucket/none", "", "")
	jobs := 0
	if _, err := Execute(t.Context(), stores, func(context.Context, *beam.Pipeline, string) error { jobs++; return nil }); err == nil ||
		!strings.Contains(err.Error(), "prepare.clean[0]: decontamination: input s3://bucket/none") || jobs > 0 {
		t.Errorf("files that are not there: %v, after %d jobs", err, jobs)
	}
}

func sameReject(a, b datasets.Reject) bool {
	return a.Source == b.Source && a.Index == b.Index && a.Rule == b.Rule && a.Reason == b.Reason && a.Value == b.Value &&
		a.Threshold == b.Threshold && string(a.Record) == string(b.Record)
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
