package storagetest

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// set writes two parts and their manifest.
func set(t *testing.T, dir string) (*storage.Set, []storage.Part) {
	t.Helper()
	parts := []storage.Part{
		must(storage.PutPart(t.Context(), dir, "groups/records", ".jsonl", body("one")))(t),
		must(storage.PutPart(t.Context(), dir, "groups/records", ".jsonl", body("two")))(t)}
	return must(storage.PutSet(t.Context(), storage.Join(dir, "manifest.json"), parts, map[string]int{"rows": 2}))(t), parts
}

func tryParts(t *testing.T, p *Place, dir string) {
	_, parts := set(t, dir)
	if want := "groups/records-" + storage.SHA256([]byte("one"))[:16] + ".jsonl"; parts[0].Name != want || parts[0].Size != 3 ||
		parts[0].SHA256 != storage.SHA256([]byte("one")) {
		t.Errorf("%+v, want the name %s", parts[0], want)
	}
	if again := must(storage.PutPart(t.Context(), dir, "groups/records", ".jsonl", body("one")))(t); again != parts[0] {
		t.Errorf("%+v and %+v of equal bytes", again, parts[0])
	}
	set(t, dir) // a retry
	s := must(storage.ReadSet(t.Context(), storage.Join(dir, "manifest.json")))(t)
	if !slices.Equal(s.Parts, parts) || string(s.About) != `{"rows":2}` {
		t.Errorf("%+v", s)
	}
	for i, want := range []string{"one", "two"} {
		if b, err := s.Read(t.Context(), s.Parts[i]); err != nil || string(b) != want {
			t.Errorf("%q %v", b, err)
		}
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := storage.PutSet(t.Context(), storage.Join(dir, "manifest.json"), parts[:1], nil)
	wrong(t, err, storage.ErrExists, "manifest.json", "other parts")
	_, err = storage.PutSet(t.Context(), storage.Join(dir, "none.json"), []storage.Part{{Name: "groups/none", Size: 1}}, nil)
	wrong(t, err, storage.ErrDamaged, "groups/none", "missing")
	if ok, err := storage.Exists(storage.Join(dir, "none.json")); ok || err != nil {
		t.Errorf("a manifest without its parts: %v", err)
	}
}

// tryDamage: a part that is missing or altered is named.
func tryDamage(t *testing.T, p *Place, dir string) {
	s, parts := set(t, dir)
	manifest, part := s.URI, s.PartURI(parts[1])
	for _, c := range []struct {
		name string
		do   func() error
		says string
		read bool // ReadSet finds it
	}{
		{"missing", func() error { return storage.Remove(part) }, "it is missing", true},
		{"longer", func() error { return storage.WriteFile(part, []byte("twos")) }, "4 bytes instead of 3", true},
		{"altered", func() error { return storage.WriteFile(part, []byte("tow")) }, "altered", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.do(); err != nil {
				t.Fatal(err)
			}
			_, err := storage.ReadSet(t.Context(), manifest)
			if c.read {
				wrong(t, err, storage.ErrDamaged, part, c.says, manifest)
			} else {
				if err != nil {
					t.Error(err)
				}
				_, err = s.Read(t.Context(), parts[1])
				wrong(t, err, storage.ErrDamaged, part, c.says)
			}
			wrong(t, s.Verify(t.Context()), storage.ErrDamaged, part, c.says)
		})
	}
	if err := storage.WriteFile(manifest, []byte(`{"parts_schema": 2, "parts": []}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := storage.ReadSet(t.Context(), manifest); err == nil || !strings.Contains(err.Error(), "its form is 2") {
		t.Errorf("%v", err)
	}
	if err := storage.WriteFile(manifest, []byte(`{"parts_schema": 1, "parts": [{"name": "../x"}]}`)); err != nil {
		t.Fatal(err)
	}
	_, err := storage.ReadSet(t.Context(), manifest)
	wrong(t, err, storage.ErrDamaged, `"../x"`)
}

func tryLocation(t *testing.T, p *Place, dir string) {
	var wait sync.WaitGroup
	for range 4 { // machines that start at once
		wait.Go(func() {
			if l, err := storage.OpenLocation(t.Context(), dir, "adaptflow 1"); err != nil || l.Schema != storage.LocationSchema {
				t.Errorf("%+v %v", l, err)
			}
		})
	}
	wait.Wait()
	if l, err := storage.OpenLocation(t.Context(), dir, "adaptflow 2"); err != nil || l.CreatedBy != "adaptflow 1" {
		t.Errorf("%+v %v", l, err)
	}
	uri := storage.Join(dir, storage.LocationName)
	for text, says := range map[string]string{
		`{"schema": 99, "created_by": "adaptflow 9"}`: "use that version or a newer one",
		`{"created_by": "adaptflow 0"}`:               "does not say the location's schema",
		`x`:                                           "does not say the location's schema",
	} {
		if err := storage.WriteFile(uri, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := storage.OpenLocation(t.Context(), dir, "adaptflow 1"); err == nil || !strings.Contains(err.Error(), says) ||
			!strings.Contains(err.Error(), uri) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// namesIn are the paths below a folder.
func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	if err := storage.List(t.Context(), dir, func(i storage.Info) error {
		names = append(names, strings.TrimPrefix(strings.TrimPrefix(i.URI, dir), "/"))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func tryOrphans(t *testing.T, p *Place, dir string) {
	must(storage.OpenLocation(t.Context(), dir, "adaptflow 1"))(t)
	l := must(storage.Hold(t.Context(), storage.Join(dir, "run"+storage.LeaseExt), "driver", time.Minute))(t)
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
	_, parts := set(t, storage.Join(dir, "stage"))
	orphan := must(storage.PutPart(t.Context(), storage.Join(dir, "stage"), "groups/records", ".jsonl", body("orphan")))(t)
	if err := storage.WriteFile(storage.Join(dir, "keep", "me"), []byte("kept")); err != nil {
		t.Fatal(err)
	}
	o := storage.Orphans{Older: 24 * time.Hour, Keep: func(name string) bool { return strings.HasPrefix(name, "keep/") }}
	if s, err := storage.SweepOrphans(t.Context(), dir, o); err != nil || s.Objects != 0 {
		t.Errorf("%+v %v, want nothing so young", s, err)
	}
	p.Later(t, dir, 25*time.Hour)
	young := must(storage.PutPart(t.Context(), storage.Join(dir, "stage"), "groups/records", ".jsonl", body("young")))(t)
	s, err := storage.SweepOrphans(t.Context(), dir, o)
	if err != nil || s.Objects != 1 || s.Bytes != 6 {
		t.Errorf("%+v %v, want one object", s, err)
	}
	want := []string{"keep/me", storage.LocationName, "run" + storage.LeaseExt, "stage/" + parts[0].Name, "stage/" + parts[1].Name,
		"stage/" + young.Name, "stage/manifest.json"}
	slices.Sort(want)
	if got := namesIn(t, dir); !slices.Equal(got, want) {
		t.Errorf("left: %q\nwant: %q (without %s)", got, want, orphan.Name)
	}
	if err := storage.WriteFile(storage.Join(dir, "stage", "other-manifest.json"), []byte("{")); err != nil {
		t.Fatal(err)
	}
	p.Later(t, dir, 25*time.Hour)
	if s, err := storage.SweepOrphans(t.Context(), dir, o); err == nil || s.Objects != 0 ||
		!strings.Contains(err.Error(), "other-manifest.json") {
		t.Errorf("%+v %v, want an error that names the manifest", s, err)
	}
}

// tryOrphanAgain: an orphan that a writer writes again while it is swept stays.
func tryOrphanAgain(t *testing.T, p *Place, dir string) {
	server(t, p)
	old := must(storage.PutPart(t.Context(), dir, "records", ".jsonl", body("one")))(t)
	p.Later(t, dir, 25*time.Hour)
	if !p.Generations { // equal bytes are an equal version: it is written again before the question
		p.Faults.Add(Fault{Kind: Slow, Method: "HEAD", Path: old.Name, Delay: time.Second})
	} else {
		p.Faults.Add(Fault{Kind: Slow, Method: "DELETE", Path: old.Name, Delay: time.Second})
	}
	done := make(chan error)
	go func() {
		_, err := storage.SweepOrphans(t.Context(), dir, storage.Orphans{Older: 24 * time.Hour})
		done <- err
	}()
	for start := time.Now(); p.Faults.Requests("HEAD", old.Name)+p.Faults.Requests("DELETE", old.Name) == 0; {
		if time.Since(start) > 10*time.Second {
			t.Fatal("nothing was swept")
		}
		time.Sleep(5 * time.Millisecond)
	}
	must(storage.PutPart(t.Context(), dir, "records", ".jsonl", body("one")))(t)
	if err := <-done; err != nil {
		t.Error(err)
	}
	must(storage.PutSet(t.Context(), storage.Join(dir, "manifest.json"), []storage.Part{old}, nil))(t)
}

func tryRemoveTree(t *testing.T, p *Place, dir string) {
	set(t, storage.Join(dir, "done"))
	set(t, storage.Join(dir, "going"))
	s, err := storage.RemoveTree(t.Context(), storage.Join(dir, "done"))
	if err != nil || s.Objects != 3 {
		t.Errorf("%+v %v, want 3 objects", s, err)
	}
	_, err = storage.ReadSet(t.Context(), storage.Join(dir, "done", "manifest.json"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if got := namesIn(t, dir); len(got) != 3 {
		t.Errorf("%q", got)
	}
}
