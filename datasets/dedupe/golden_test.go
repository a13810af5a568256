package dedupe

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/internal/golden"
)

type row struct {
	ID        string
	File, Doc uint32
	Text      string
	Splits    map[int][]string
	NS        int
	Shingles  int      `json:"n_shingles"`
	First     []string `json:"first_shingles"`
	Sig       string
	Hash      string
	Kept      bool
	Count     *int `json:"duplicate_count"`
}

func rows(t testing.TB, name string) []row {
	t.Helper()
	f, err := os.Open(filepath.Join(golden.Root(t, "testdata"), "datatrove", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []row
	s := bufio.NewScanner(z)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		var r row
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, r)
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return out
}

// simpleWords are the words of each document's simplified text as datatrove's splitter cut them.
func simpleWords(t testing.TB) map[string][]string {
	cut := map[string]row{}
	for _, r := range rows(t, "words.jsonl.gz") {
		cut[r.ID] = r
	}
	out := map[string][]string{}
	for _, d := range rows(t, "docs.jsonl.gz") {
		var words []string
		for i, w := range strings.Fields(rules.Simplify(d.Text)) {
			if parts, ok := cut[d.ID].Splits[i]; ok {
				words = append(words, parts...)
			} else {
				words = append(words, w)
			}
		}
		if len(words) != cut[d.ID].NS {
			t.Errorf("%s: %d words, datatrove %d", d.ID, len(words), cut[d.ID].NS)
		}
		out[d.ID] = words
	}
	return out
}

func TestGoldenPermutations(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(golden.Root(t, "testdata"), "datatrove", "minhash_params.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want struct{ A, B []string }
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	m, err := NewMinHash(DefaultMinHash())
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.A {
		if want.A[i] != strconv.FormatUint(m.a[i], 10) || want.B[i] != strconv.FormatUint(m.b[i], 10) {
			t.Fatalf("permutation %d: %d %d, datatrove %s %s", i, m.a[i], m.b[i], want.A[i], want.B[i])
		}
	}
}

// TestGoldenMinHash compares signatures and, over all documents, pairs, clusters and what is removed.
func TestGoldenMinHash(t *testing.T) {
	words := simpleWords(t)
	for hash, file := range map[string]string{XXHash: "minhash_xxhash64", SHA1: "minhash_sha1_64"} {
		c := DefaultMinHash()
		c.HashConfig.HashFc = hash
		m, err := NewMinHash(c)
		if err != nil {
			t.Fatal(err)
		}
		buckets := make([][]Signed, c.NumBuckets)
		ids := map[ID]string{}
		bad := 0
		all := rows(t, file+".jsonl.gz")
		for _, r := range all {
			shingles := m.Shingles(nil, words[r.ID])
			sig := m.Signature(shingles)
			raw := binaryOf(sig)
			same := len(shingles) == r.Shingles && base64.StdEncoding.EncodeToString(raw) == r.Sig
			for i, s := range r.First {
				same = same && i < len(shingles) && strconv.FormatUint(shingles[i], 10) == s
			}
			if !same {
				if bad++; bad < 5 {
					t.Errorf("%s of %s differs", file, r.ID)
				}
			}
			id := ID{r.File, r.Doc}
			ids[id] = r.ID
			for k := range buckets {
				if sig != nil {
					buckets[k] = append(buckets[k], Signed{m.Band(sig, k), id})
				}
			}
		}
		t.Logf("%s: %d signatures, %d differ", file, len(all), bad)
		var pairs []Pair
		var flat [][5]uint32
		for k, b := range buckets {
			for _, p := range Pairs(b) {
				pairs = append(pairs, p)
				flat = append(flat, [5]uint32{uint32(k), p.A.File, p.A.Doc, p.B.File, p.B.Doc})
			}
		}
		clusters := Clusters(pairs)
		links, rounds := Propagate(pairs)
		least := map[ID]ID{}
		for _, l := range links {
			least[l.B] = l.A
		}
		removed := map[string]bool{}
		members := 0
		for _, cl := range clusters {
			for _, id := range cl.IDs {
				if id != cl.Kept {
					removed[ids[id]] = true
				}
				if id != cl.IDs[0] && least[id] != cl.IDs[0] {
					t.Errorf("propagation puts %s under %v, want %v", ids[id], least[id], cl.IDs[0])
				}
			}
			members += len(cl.IDs)
		}
		if len(links) != members-len(clusters) {
			t.Errorf("propagation removes %d, the clusters %d", len(links), members-len(clusters))
		}
		f, err := os.Open(filepath.Join(golden.Root(t, "testdata"), "datatrove", file+"_result.json.gz"))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		var want struct {
			Pairs    [][5]uint32
			Clusters []struct {
				IDs, Kept []string
			}
			Removed []string
		}
		if err := json.NewDecoder(z).Decode(&want); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(flat, want.Pairs) {
			t.Errorf("%s: %d pairs, datatrove %d, or they differ", file, len(flat), len(want.Pairs))
		}
		if len(clusters) != len(want.Clusters) {
			t.Fatalf("%s: %d clusters, datatrove %d", file, len(clusters), len(want.Clusters))
		}
		for i, w := range want.Clusters {
			got := make([]string, len(clusters[i].IDs))
			for j, id := range clusters[i].IDs {
				got[j] = ids[id]
			}
			if !slices.Equal(got, w.IDs) || len(w.Kept) != 1 || ids[clusters[i].Kept] != w.Kept[0] {
				t.Errorf("%s: cluster %v keeps %s, datatrove %v", file, got, ids[clusters[i].Kept], w)
			}
		}
		for _, id := range want.Removed {
			if !removed[id] {
				t.Errorf("%s: %s is kept", file, id)
			}
		}
		if len(removed) != len(want.Removed) {
			t.Errorf("%s: %d removed, datatrove %d", file, len(removed), len(want.Removed))
		}
		t.Logf("%s: %d pairs, %d clusters, %d removed as datatrove; propagation %d rounds", file, len(flat), len(clusters),
			len(removed), rounds)
	}
}

func binaryOf(sig []uint64) []byte {
	var b []byte
	for _, s := range sig {
		b = binary.LittleEndian.AppendUint64(b, s)
	}
	return b
}

// TestGoldenExact compares hashes of whole texts and, over all documents, which stay.
func TestGoldenExact(t *testing.T) {
	texts := map[string]string{}
	for _, d := range rows(t, "docs.jsonl.gz") {
		texts[d.ID] = d.Text
	}
	all := rows(t, "exact_dedup.jsonl.gz")
	var hashes []Hashed
	for _, r := range all {
		h := HashConfig{XXHash}.SumString(texts[r.ID])
		if strconv.FormatUint(h, 10) != r.Hash {
			t.Errorf("%s: hash %d, datatrove %s", r.ID, h, r.Hash)
		}
		hashes = append(hashes, Hashed{Hash: h, ID: ID{r.File, r.Doc}})
	}
	if len(all) < 2000 {
		return // a choice of documents has not all the first ones
	}
	gone := map[ID]bool{}
	for _, d := range Duplicates(hashes) {
		gone[d.ID] = true
	}
	for _, r := range all {
		if gone[ID{r.File, r.Doc}] == r.Kept {
			t.Errorf("%s: kept %v, datatrove %v", r.ID, !r.Kept, r.Kept)
		}
	}
	t.Logf("%d documents, %d exact duplicates", len(all), len(gone))
}
