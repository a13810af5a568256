package kinds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/transforms/perkey"
)

// TestKeysAtALocation: a run by key whose output is on an object store, each driver on a machine with an empty cache: one is lost, another
// goes on without training what is finished, a third finds the run finished, mends it and forgets a document. Adapters have the bytes of
// runs in a folder, and nothing of the work is left.
func TestKeysAtALocation(t *testing.T) {
	onS3(t)
	dir := t.TempDir()
	base, err := assets.Model("embedded:lm-en-5m", nil)
	if err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	for i := range 12 {
		for _, x := range [][2]string{{"ann", "Where is card number %d of mine, which I ordered from your office?"},
			{"bob", "The lighthouse keeper wrote %d letters about gulls and weather."},
			{"cleo", "My train of %d o'clock was late again."}} {
			fmt.Fprintf(&rows, "{\"text\": %q, \"user\": %q}\n", fmt.Sprintf(x[1], i), x[0])
		}
	}
	in := filepath.Join(dir, "rows.jsonl")
	if err := os.WriteFile(in, []byte(rows.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	rec := resolved(t, "personal-assistants", "model="+base, "input="+in, "key_column=user", "validation_fraction=0.2", "max_steps=3",
		"keys.group_keys=1")
	const store = "s3://bucket/keys"
	said := ""
	machine := func(output string, work func(*run.Run) (*KeyRuns, error)) (*KeyRuns, error) {
		t.Helper()
		t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
		said = ""
		r := &run.Run{Recipe: rec, Output: output, Say: func(format string, a ...any) { said += fmt.Sprintf(format, a...) + "\n" }}
		defer r.Close()
		if err := Open(r); err != nil {
			t.Fatal(err)
		}
		return work(r)
	}
	all := func(r *run.Run) (*KeyRuns, error) { return trainKeys(t.Context(), r) }
	ok := func(k *KeyRuns, err error) *KeyRuns {
		t.Helper()
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		return k
	}
	same := func(local string) {
		t.Helper()
		for _, key := range []string{"ann", "bob", "cleo"} {
			for _, name := range []string{peft.TensorFile, peft.ConfigFile, peft.CardFile, perkey.LineageFile} {
				rel := run.AdapterDir + "s/" + perkey.KeyName(key) + "/" + name
				want, err := os.ReadFile(filepath.Join(local, rel))
				if err != nil {
					t.Fatal(err)
				}
				if got, err := storage.ReadFile(storage.Join(store, rel)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: other bytes than in a folder (%v)", rel, err)
				}
			}
		}
	}
	local := filepath.Join(dir, "local")
	ok(machine(local, all))

	var trained []string
	ctx, lost := context.WithCancel(t.Context())
	stop := perkey.Watch(store+"/adapters", func(r *perkey.Result) { trained = append(trained, r.Key); lost() })
	defer func() { stop() }()
	if _, err := machine(store, func(r *run.Run) (*KeyRuns, error) { return trainKeys(ctx, r) }); !errors.Is(err, context.Canceled) {
		t.Fatalf("the driver that was lost gave %v", err)
	}
	first := len(trained)
	if first == 0 || first == 3 {
		t.Fatalf("%v were trained", trained)
	}
	k := ok(machine(store, all))
	if slices.Sort(trained); k.Trained != 3 || !slices.Equal(slices.Compact(trained), []string{"ann", "bob", "cleo"}) {
		t.Errorf("%+v of %v", k, trained)
	}
	same(local)
	swept := func() {
		t.Helper()
		if err := storage.List(t.Context(), store+"/.work", func(i storage.Info) error {
			if strings.Contains(i.URI, stagedKeys) {
				t.Errorf("%s is left", i.URI)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	swept()

	trained = nil
	if ok(machine(store, all)); len(trained) > 0 || !strings.Contains(said, "this run is finished: "+store) {
		t.Errorf("%v were trained of a finished run: %s", trained, said)
	}
	weights := storage.Join(store, "adapters", perkey.KeyName("bob"), peft.TensorFile)
	for _, gone := range []string{weights, storage.Join(store, report.File)} {
		if err := storage.Remove(gone); err != nil {
			t.Fatal(err)
		}
	}
	if ok(machine(store, all)); !slices.Equal(trained, []string{"bob"}) {
		t.Errorf("%v were trained, and bob's weights were gone", trained)
	}
	same(local)
	if there, err := storage.Exists(storage.Join(store, report.File)); err != nil || !there {
		t.Errorf("no report (%v)", err)
	}

	whole, err := storage.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Clone(whole)
	other[len(other)-1] ^= 1
	for what, x := range map[string]struct {
		bytes []byte
		want  []string
	}{"cut": {whole[:len(whole)/2], []string{"bob"}}, "longer": {append(bytes.Clone(whole), 0), []string{"bob"}},
		"others": {other, []string{"bob"}}, "the same": {whole, nil}} {
		if err := storage.WriteFile(weights, x.bytes); err != nil {
			t.Fatal(err)
		}
		trained = nil
		if ok(machine(store, all)); !slices.Equal(trained, x.want) || strings.Contains(said, "has damaged weights") != (x.want != nil) {
			t.Errorf("%v were trained, and bob's weights were %s: %s", trained, what, said)
		}
		same(local)
	}
	swept()

	raw, err := storage.ReadFile(storage.Join(store, "adapters", perkey.KeyName("ann"), perkey.LineageFile))
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(string(raw), `{"doc_id":"`), `"`)
	if keys, unknown, err := affected(store, []string{id, "other#1"}); err != nil || !slices.Equal(keys, []string{"ann"}) ||
		!slices.Equal(unknown, []string{"other#1"}) {
		t.Fatalf("%v: %s affects %v, unknown %v", err, id, keys, unknown)
	}
	leave := func(r *run.Run) (*KeyRuns, error) { return forget(t.Context(), r, []string{id}) }
	trained = nil
	if k := ok(machine(store, leave)); !slices.Equal(trained, []string{"ann"}) || !slices.Equal(k.Forgotten, []string{id}) {
		t.Errorf("%v were trained for a document of ann; forgotten %v", trained, k.Forgotten)
	}
	ok(machine(local, leave))
	same(local)
	swept()
	trained = nil
	if k := ok(machine(store, all)); len(trained) > 0 || !slices.Equal(k.Forgotten, []string{id}) {
		t.Errorf("%v were trained again, %+v", trained, k)
	}
}
