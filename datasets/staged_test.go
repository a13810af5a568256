package datasets

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

func TestStagedRoundTrip(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "d.parquet")
	w, err := CreateDocs(p)
	if err != nil {
		t.Fatal(err)
	}
	var want []StagedDoc
	for i, d := range randomDocs(700, 6000, 5) {
		if len(d.Tokens) == 0 {
			continue
		}
		// of every third, tokens do not begin where the one before ends: before it, behind it, or the first not at 0
		for k := range d.Spans {
			switch {
			case i%3 == 1:
				d.Spans[k][0] += int32(i/3%3) - 1
			case i%3 == 2 && k == 0:
				d.Spans[k][0]++
			}
		}
		s := StagedDoc{Doc: d, Index: int64(i), Hash: Hash(d.ID, 1, PurposeShard), Split: Hash(d.ID, 1, PurposeValidation)}
		want = append(want, s)
		if err := w.Write(&s); err != nil {
			t.Fatal(err)
		}
	}
	groups, err := w.Close()
	if err != nil || len(groups) < 2 {
		t.Fatalf("%v %v", groups, err)
	}
	at := 0
	for g, n := range groups {
		refs, ng, err := ReadDocRefs(p, g)
		if err != nil || int64(len(refs)) != n || ng != len(groups) {
			t.Fatalf("%d refs, %v", len(refs), err)
		}
		rows := []int32{0, 2, int32(n) - 1}
		docs, err := ReadDocs(p, "f.txt", g, rows)
		if err != nil {
			t.Fatal(err)
		}
		for k, r := range rows {
			if w := want[at+int(r)]; !reflect.DeepEqual(docs[k], w) || refs[r].Hash != w.Hash || refs[r].Split != w.Split ||
				refs[r].Length != int64(len(w.Tokens)) {
				t.Fatalf("group %d row %d: %+v", g, r, docs[k])
			}
		}
		all := make([]int32, n)
		for i := range all {
			all[i] = int32(i)
		}
		if docs, err = ReadDocs(p, "f.txt", g, all); err != nil || !reflect.DeepEqual(docs, want[at:at+int(n)]) {
			t.Fatalf("group %d: %v or other documents", g, err)
		}
		for from := int32(0); from < int32(n); from += 1 + from%7 { // as a shard reads: some that follow one another
			to := min(from+1+from%11, int32(n))
			if docs, err = ReadDocs(p, "f.txt", g, all[from:to]); err != nil || !reflect.DeepEqual(docs, want[at+int(from):at+int(to)]) {
				t.Fatalf("group %d, rows %d to %d: %v or other documents", g, from, to, err)
			}
		}
		if _, err = ReadDocs(p, "f.txt", g, []int32{int32(n)}); err == nil {
			t.Fatal("a row that is not there was read")
		}
		at += int(n)
	}
	rp := filepath.Join(dir, "r.parquet")
	rw, err := CreateRecords(rp)
	if err != nil {
		t.Fatal(err)
	}
	rec := Record{Source: "a", Index: 7, Text: "grüß\x00e", Key: "k"}
	rw.Write(&rec)
	if g, err := rw.Close(); err != nil || !slices.Equal(g, [][2]int64{{7, 7}}) {
		t.Fatal(g, err)
	}
	if got, err := ReadRecords(rp, "a", 0); err != nil || got[0] != rec {
		t.Fatalf("%+v %v", got, err)
	}
}

func TestFindSources(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"a/x.txt", "a/y.txt", "b/x.txt"} {
		os.MkdirAll(filepath.Join(dir, filepath.Dir(n)), 0o755)
		os.WriteFile(filepath.Join(dir, n), nil, 0o644)
	}
	for _, c := range []struct{ globs, want []string }{
		{[]string{"a/*.txt"}, []string{"x.txt", "y.txt"}},
		{[]string{"*/x.txt"}, []string{"a/x.txt", "b/x.txt"}},
		{[]string{"a/y.txt", "a/*.txt"}, []string{"y.txt", "x.txt"}},
		{[]string{"b/x.txt", "a/x.txt"}, []string{"b/x.txt", "a/x.txt"}},
	} {
		var globs, got []string
		for _, g := range c.globs {
			globs = append(globs, filepath.Join(dir, g))
		}
		fs, err := FindSources(globs)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fs {
			got = append(got, f.Source)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.globs, got, c.want)
		}
	}
	if _, err := FindSources([]string{filepath.Join(dir, "none*")}); err == nil {
		t.Error("nothing found, no error")
	}
}

func TestManifest(t *testing.T) {
	dir := t.TempDir()
	m := &Manifest{SchemaVersion: SchemaVersion, Kind: KindLM, Rejected: map[string]int64{"x": 1},
		Train: []ShardInfo{{Path: "a", RowGroups: []RowGroupInfo{{1, 2, 3}}}}}
	p, err := WriteManifest(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ReadManifest(dir); err != nil || !reflect.DeepEqual(got, m) {
		t.Fatalf("%+v %v", got, err)
	}
	os.WriteFile(p, []byte(`{"schema_version": 9}`), 0o644)
	if _, err := ReadManifest(dir); err == nil {
		t.Error("another schema version was read")
	}
}
