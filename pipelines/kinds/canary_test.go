package kinds

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/tokenize"
)

// TestTheCanaryIsForgotten: after forget nothing in a run's folder holds the documents' text: not as it is, not compressed, not as tokens;
// before, its shards and dead letters do. The other keys keep their bytes, the forgotten key's adapter is another, and shards that are lost
// afterwards are made again without the documents.
func TestTheCanaryIsForgotten(t *testing.T) {
	const canary = "zanzibarquokka"
	dir := t.TempDir()
	var rows strings.Builder
	for i := range 10 {
		for _, user := range []string{"ann", "bob", "cleo"} {
			text := fmt.Sprintf("%s counted %d gulls by the lighthouse and wrote a letter about the weather.", user, i)
			if user == "bob" && i >= 4 && i <= 6 {
				text += " His password is " + canary + "."
			}
			fmt.Fprintf(&rows, "{\"text\": %q, \"user\": %q}\n", text, user)
		}
	}
	fmt.Fprintf(&rows, "{\"text\": [\"The %s again\"], \"user\": \"bob\"}\n", canary) // a dead letter
	in := filepath.Join(dir, "rows.jsonl")
	if err := os.WriteFile(in, []byte(rows.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	rec := resolved(t, "personal-assistants", "input="+in, "key_column=user", "validation_fraction=0.2", "max_steps=2", "min_sequences=2")
	out := filepath.Join(dir, "out")
	do := func(work func(*run.Run) (*KeyRuns, error)) {
		t.Helper()
		r := &run.Run{Recipe: rec, Output: out}
		defer r.Close()
		if err := Open(r); err != nil {
			t.Fatal(err)
		}
		if _, err := work(r); err != nil {
			t.Fatal(err)
		}
	}
	train := func(r *run.Run) (*KeyRuns, error) { return trainKeys(t.Context(), r) }
	do(train)
	ids := holders(t, out, canary)
	if where := strings.Join(ids, " "); !strings.Contains(where, run.RejectsDir) || !strings.Contains(where, "shards") {
		t.Fatalf("before it is forgotten the canary is in %v alone", ids)
	}
	before := weightsOf(t, out)
	do(func(r *run.Run) (*KeyRuns, error) {
		return forget(t.Context(), r, []string{"rows.jsonl#13", "rows.jsonl#16", "rows.jsonl#19", "rows.jsonl#30"})
	})
	if left := holders(t, out, canary); len(left) > 0 {
		t.Errorf("it is still in %v; before in %v", left, ids)
	}
	after := weightsOf(t, out)
	for name, b := range before {
		if same := bytes.Equal(b, after[name]); same == strings.HasPrefix(name, "bob-") {
			t.Errorf("%s: the same adapter: %v", name, same)
		}
	}
	m, err := datasets.ReadManifest(filepath.Join(out, "shards"))
	if err != nil {
		t.Fatal(err)
	}
	if tokens := m.Train[0].Tokens + m.Validation[0].Tokens; m.Tokens != tokens || m.Sequences != m.Train[0].Rows+m.Validation[0].Rows {
		t.Errorf("the manifest counts %d tokens of %d", m.Tokens, tokens)
	}
	// Lost afterwards.
	if err := os.Remove(filepath.Join(out, "shards", m.Train[0].Path)); err != nil {
		t.Fatal(err)
	}
	do(train)
	if left := holders(t, out, canary); len(left) > 0 {
		t.Errorf("made again, it is in %v", left)
	}
	if again, err := datasets.ReadManifest(filepath.Join(out, "shards")); err != nil || again.Train[0].SHA256 != m.Train[0].SHA256 {
		t.Errorf("shards made again: %+v, %v", again.Train, err)
	}
}

// holders are the files below dir that hold a text: plainly, in zstd, or in the tokens of a shard.
func holders(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	base, err := assets.Model("embedded:lm-en-5m", nil)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenize.Load(base)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if plain, err := z.DecodeAll(raw, nil); err == nil {
			raw = append(raw, plain...)
		}
		if strings.Contains(path, run.RejectsDir) { // records are in base64 there
			err := datasets.ReadRejects(path, func(r *datasets.Reject) bool { raw = append(raw, r.Record...); return true })
			if err != nil {
				return err
			}
		}
		if strings.HasSuffix(path, ".parquet") {
			s, err := datasets.OpenShard(path)
			if err != nil {
				return err
			}
			defer s.Close()
			if err := s.Each(func(q *datasets.Sequence) error {
				raw = append(raw, tok.Decode(q.InputIDs, true)...)
				return nil
			}); err != nil {
				return err
			}
		}
		if bytes.Contains(raw, []byte(text)) {
			found = append(found, path)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

// weightsOf are the weights of a run's keys by their folders.
func weightsOf(t *testing.T, out string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(out, run.AdapterDir+"s", "*", "adapter_model.safetensors"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%v %v", files, err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		if all[filepath.Base(filepath.Dir(f))], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return all
}
