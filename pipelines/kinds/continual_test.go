package kinds

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/train/continual"
)

// incoming writes files that an increment each is made of, over a few words, so that a few steps learn much.
func incoming(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func letters(from, n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, "The lighthouse keeper wrote letter number %d to his sister about the gulls and the weather of that week.\n",
			from+i)
	}
	return s.String()
}

func continualRecipe(t *testing.T, in string, more ...string) *recipe.Recipe {
	t.Helper()
	rec := resolved(t, "continual-learning", append([]string{"input=" + in, "sequence_length=48", "max_steps=4",
		"warmup_steps=1", "batch_size=2",
		"max_sequences=8", "validation_fraction=0.2"}, more...)...)
	return rec
}

func learnOnce(t *testing.T, ctx context.Context, rec *recipe.Recipe, output string, w Watch) (*Learned, error) {
	t.Helper()
	r := &run.Run{Recipe: rec, Output: output, Say: t.Logf}
	defer r.Close()
	if err := Open(r); err != nil {
		t.Fatal(err)
	}
	return learnAll(ctx, r, w)
}

// tree is the content of what a run of continual learning gave.
func tree(t *testing.T, output string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(output, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(output, path)
		if first := strings.Split(filepath.ToSlash(rel), "/")[0]; first == VersionsDir || first == CurrentFile || first == HistoryFile ||
			first == replayDir || first == heldOutDir || first == incrementsDir {
			raw, err := os.ReadFile(path)
			fmt.Fprintf(&b, "%s %x\n", rel, raw)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestContinual: each file is taken once; what cannot be used, what is there twice and what costs too much is recorded and not trained on
// or rolled back; a run that was stopped between any two of its steps ends with the same bytes.
func TestContinual(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	incoming(t, in, map[string]string{"1.txt": letters(0, 30), "2.txt": letters(30, 30), "3-copy.txt": letters(0, 30), "4-empty.txt": "",
		"5.jsonl": "{\"body\": 1}\n{\"body\": 2}\n", "6.txt.tmp": letters(90, 5), ".hidden.txt": letters(90, 5)})
	rec := continualRecipe(t, in, "max_domain_rise=-1", "max_forgetting=0.5", "learning_rate=0.003")
	out := filepath.Join(dir, "out")
	l, err := learnOnce(t, context.Background(), rec, out, Watch{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range l.Increments {
		got = append(got, x.Files[0].Name+" "+x.Decision)
	}
	if s := strings.Join(got, ", "); s != "1.txt accepted, 2.txt accepted, 3-copy.txt duplicate, 4-empty.txt rejected, 5.jsonl rejected" {
		t.Fatal(s)
	}
	if err := l.Bad(); err == nil || !strings.Contains(err.Error(), "2 increments could not be used: 4-empty.txt: ") {
		t.Error(err)
	}
	first, second := l.Increments[0], l.Increments[1]
	if first.Data.Replayed != 0 || second.Data.Replayed == 0 || second.Parent != 1 || first.HeldOut == nil ||
		second.After.Domain.NLL >= second.Before.Domain.NLL {
		t.Errorf("%+v\n%+v", first, second)
	}
	if raw, err := os.ReadFile(filepath.Join(out, CurrentFile)); err != nil || string(raw) != "versions/0002\n" ||
		l.Current != "versions/0002" {
		t.Errorf("%q %v", raw, err)
	}
	var table bytes.Buffer
	l.Table(&table, out)
	if !strings.Contains(table.String(), "the content was taken in increment 1") || !strings.Contains(table.String(), "versions/0002") {
		t.Error(table.String())
	}
	if page, err := os.ReadFile(filepath.Join(out, report.File)); err != nil || !strings.Contains(string(page), "<svg") ||
		!strings.Contains(string(page), "<td>3-copy.txt</td>") {
		t.Error(err, string(page))
	}
	if facts, err := inspectPath(out); err != nil || len(facts) != 9 {
		t.Error(facts, err)
	}
	want := tree(t, out)

	// Another look: the times of files have changed, and nothing is taken.
	old := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(in, "1.txt"), old, old); err != nil {
		t.Fatal(err)
	}
	if l, err = learnOnce(t, context.Background(), rec, out, Watch{}); err != nil || len(l.Increments) != 5 ||
		tree(t, out) != want || l.Bad() != nil {
		t.Errorf("%+v %v", l, err)
	}

	// Stopped again and again, each time a little later.
	stopped := filepath.Join(dir, "stopped")
	rec2 := continualRecipe(t, in, "max_domain_rise=-1", "max_forgetting=0.5", "learning_rate=0.003")
	stops := 0
	for wait := 50 * time.Millisecond; ; wait += 150 * time.Millisecond {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		_, err := learnOnce(t, ctx, rec2, stopped, Watch{})
		cancel()
		if err == nil {
			break
		}
		if ctx.Err() == nil {
			t.Fatal(err)
		}
		stops++
	}
	if stops == 0 {
		t.Error("no stop came before the end")
	}
	if got := tree(t, stopped); got != want {
		t.Errorf("after %d stops the run ended otherwise:\n%.3000s\n---\n%.3000s", stops, got, want)
	}

	// A file of an old name with new content is taken; so is one that comes while the run watches.
	incoming(t, in, map[string]string{"1.txt": letters(200, 30)})
	time.AfterFunc(300*time.Millisecond, func() { _ = os.WriteFile(filepath.Join(in, "7.txt"), []byte(letters(300, 30)), 0o644) })
	l, err = learnOnce(t, context.Background(), rec, out, Watch{Every: 20 * time.Millisecond, UntilIdle: 3 * time.Second})
	if err != nil || len(l.Increments) != 7 || l.Increments[5].Files[0].Name != "1.txt" || l.Increments[6].Files[0].Name != "7.txt" ||
		l.Increments[6].Decision != continual.Accepted {
		t.Fatalf("%+v %v", l, err)
	}

	// A limit that nothing holds: the version before stays, and no folder of the one that was dropped.
	tight := filepath.Join(dir, "tight")
	l, err = learnOnce(t, context.Background(), continualRecipe(t, in, "max_forgetting=0", "max_domain_rise=-1", "learning_rate=0.05",
		"increment_files=2"), tight, Watch{})
	if err != nil || len(l.Increments[0].Files) != 2 || l.Increments[0].Decision != continual.RolledBack ||
		!strings.Contains(l.Increments[0].Reason, "above the limit") || l.Current != "" {
		t.Fatalf("%+v %v", l, err)
	}
	if es, err := os.ReadDir(filepath.Join(tight, VersionsDir)); err == nil && len(es) > 0 {
		t.Error(es)
	}

	// An adapter that was changed, and one that is gone.
	path := filepath.Join(out, "versions", "0007", "adapter_model.safetensors")
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := learnOnce(t, context.Background(), rec, out, Watch{}); err == nil || !strings.Contains(err.Error(), "versions/0007") {
		t.Error(err)
	}
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if _, err := learnOnce(t, context.Background(), rec, out, Watch{}); err == nil || !strings.Contains(err.Error(), "version 7") {
		t.Error(err)
	}
}
