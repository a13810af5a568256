package kinds

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/transforms/perkey"
)

// TestPersonalAssistants: the template on rows of three keys, of which one has too little and one row has no key; a document forgotten.
func TestPersonalAssistants(t *testing.T) {
	dir := t.TempDir()
	var rows strings.Builder
	for i := range 12 {
		fmt.Fprintf(&rows, "{\"text\": \"Where is card number %d of mine, which I ordered last week from your office in town?\", "+
			"\"user\": \"ann\"}\n", i)
		fmt.Fprintf(&rows, "{\"text\": \"The lighthouse keeper wrote %d letters to his sister about gulls and weather.\", \"user\": "+
			"\"bob\"}\n", i)
	}
	rows.WriteString("{\"text\": \"Hello.\", \"user\": \"cleo\"}\n{\"text\": \"Nobody said this.\"}\n")
	in := filepath.Join(dir, "rows.jsonl")
	if err := os.WriteFile(in, []byte(rows.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	rec := resolved(t, "personal-assistants", "input="+in, "key_column=user", "validation_fraction=0.2", "max_steps=6", "min_sequences=2")
	open := func() *run.Run {
		r := &run.Run{Recipe: rec, Output: filepath.Join(dir, "out")}
		if err := Open(r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := open()
	k, err := trainKeys(context.Background(), r)
	r.Close()
	if err != nil {
		t.Fatal(err)
	}
	if k.Trained != 2 || k.Skipped[perkey.ReasonTooFew] > 1 || k.Skipped[perkey.ReasonNoKey] > 1 || k.Scored == 0 || k.After >= k.Before {
		t.Fatalf("%+v", k)
	}
	var table bytes.Buffer
	k.Table(&table, r.Output)
	if !strings.Contains(table.String(), "keys trained             2 of") || !strings.Contains(table.String(), "all keys") {
		t.Error(table.String())
	}
	page, err := os.ReadFile(filepath.Join(r.Output, report.File))
	if err != nil || !strings.Contains(string(page), "<svg") || !strings.Contains(string(page), "<td>ann</td>") {
		t.Errorf("%v: %.300s", err, page)
	}
	weights := func(key string) []byte {
		b, err := os.ReadFile(filepath.Join(r.Output, run.AdapterDir+"s", perkey.KeyName(key), "adapter_model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ann, bob := weights("ann"), weights("bob")
	for path, want := range map[string]string{r.Output: filepath.Join(run.AdapterDir+"s", perkey.KeyName("bob")),
		filepath.Join(r.Output, run.AdapterDir+"s", perkey.KeyName("bob")): "{of the key bob}"} {
		if facts, err := inspectPath(path); err != nil || !strings.Contains(fmt.Sprint(facts), want) {
			t.Errorf("%s: %v, %v, want %s", path, facts, err, want)
		}
	}
	// What is missing or damaged of the finished run is made again, to the same bytes; a whole one only reads.
	folder := filepath.Join(r.Output, run.AdapterDir+"s", perkey.KeyName("ann"))
	tensors := filepath.Join(folder, "adapter_model.safetensors")
	for name, spoil := range map[string]func() error{
		"gone":    func() error { return os.RemoveAll(folder) },
		"weights": func() error { return os.Remove(tensors) },
		"damaged": func() error { return os.WriteFile(tensors, append([]byte{ann[0] ^ 1}, ann[1:]...), 0o644) },
		"lineage": func() error { return os.Remove(filepath.Join(folder, perkey.LineageFile)) },
		"report":  func() error { return os.Remove(filepath.Join(r.Output, report.File)) },
		"whole":   func() error { return nil },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		said := ""
		r = open()
		r.Say = func(format string, a ...any) { said += fmt.Sprintf(format, a...) + "\n" }
		again, err := trainKeys(context.Background(), r)
		r.Close()
		if err != nil || again.Trained != 2 || strings.Contains(said, "made again") != (name != "whole") {
			t.Errorf("%s: %v, %s", name, err, said)
		}
		if !bytes.Equal(weights("ann"), ann) || !bytes.Equal(weights("bob"), bob) {
			t.Errorf("%s: other bytes", name)
		}
		for _, path := range []string{filepath.Join(folder, perkey.LineageFile), filepath.Join(r.Output, report.File)} {
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	line, err := os.ReadFile(filepath.Join(r.Output, run.AdapterDir+"s", perkey.KeyName("ann"), perkey.LineageFile))
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(string(line), `{"doc_id":"`), `"`)
	keys, unknown, err := affected(r.Output, []string{id, "other#1"})
	if err != nil || !slices.Equal(keys, []string{"ann"}) || !slices.Equal(unknown, []string{"other#1"}) {
		t.Fatalf("%v: %s affects %v, unknown %v", err, id, keys, unknown)
	}
	r = open()
	k, err = forget(context.Background(), r, []string{id})
	r.Close()
	if err != nil || !slices.Equal(k.Forgotten, []string{id}) {
		t.Fatalf("%v: %+v", err, k)
	}
	if bytes.Equal(weights("ann"), ann) || !bytes.Equal(weights("bob"), bob) {
		t.Error("forgetting a document of ann changed the wrong adapters")
	}
	if keys, _, err := affected(r.Output, []string{id}); err != nil || len(keys) != 0 {
		t.Errorf("%v: the forgotten document is still seen by %v", err, keys)
	}
}
