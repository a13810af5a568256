package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
)

// foreign writes the shards of a prepared run's split again, with an id that its model has no row for, and the manifest of them.
func (b *desk) foreign(out, split string, id int32) {
	b.t.Helper()
	dir := filepath.Join(out, "shards")
	m, err := datasets.ReadManifest(dir)
	if err != nil {
		b.t.Fatal(err)
	}
	infos := m.Train
	if split == "validation" {
		infos = m.Validation
	}
	for i := range infos {
		path := filepath.Join(dir, infos[i].Path)
		s, err := datasets.OpenShard(path)
		if err != nil {
			b.t.Fatal(err)
		}
		w, err := datasets.CreateShard(path, s.Meta())
		if err != nil {
			b.t.Fatal(err)
		}
		for g := range s.NumRowGroups() {
			rows, err := s.ReadRowGroup(g)
			if err != nil {
				b.t.Fatal(err)
			}
			for j := range rows {
				rows[j].InputIDs[3] = id
				rows[j].Labels[3] = id
				if err := w.Write(&rows[j]); err != nil {
					b.t.Fatal(err)
				}
			}
		}
		s.Close()
		info, err := w.Close()
		if err != nil {
			b.t.Fatal(err)
		}
		info.Path = infos[i].Path
		for _, at := range b.records(out) { // what the run knows its shards by
			b.rewrite(at, func(raw []byte) []byte { return bytes.ReplaceAll(raw, []byte(infos[i].SHA256), []byte(info.SHA256)) })
		}
		infos[i] = info
	}
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), raw, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// records are the files of a run that say what it has done.
func (b *desk) records(out string) []string {
	b.t.Helper()
	at, err := filepath.Glob(filepath.Join(out, "stages", "*.json"))
	if err != nil || len(at) == 0 {
		b.t.Fatal(at, err)
	}
	return at
}

// TestShardsOfAnotherModel: an id beyond the vocabulary in a shard is an error that names the shard, in training and in evaluation.
func TestShardsOfAnotherModel(t *testing.T) {
	if testing.Short() {
		t.Skip("loads a model each time")
	}
	b := &desk{t, t.TempDir()}
	in := b.corpus(60)
	for _, c := range []struct{ split, command string }{{"train", "train"}, {"validation", "run"}} {
		out := b.path(c.split)
		args := append([]string{"domain-adaptation", "--output", out}, set("input="+in)...)
		if said, err := adaptflow(append([]string{"prepare"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		b.foreign(out, c.split, 9000)
		code, _, stderr := ended(t, adaptflow(append([]string{c.command}, args...)...))
		if code != 1 {
			t.Errorf("%s: exit code %d: %s", c.split, code, stderr)
			continue
		}
		line := errorLine(t, stderr)
		t.Log(line)
		for _, word := range []string{c.split + "-00000", "9000", "4096"} {
			if !strings.Contains(line, word) {
				t.Errorf("%s: the line does not name %q: %s", c.split, word, line)
			}
		}
	}
}
