package datasets

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func packAll(t *testing.T, docs []Doc, o PackOptions) ([]Sequence, PackStats) {
	t.Helper()
	var out []Sequence
	st, err := Pack(docs, o, func(s Sequence) error { out = append(out, s); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return out, st
}

func goldenFiles(t *testing.T) []string {
	files := []string{filepath.Join("testdata", "trl_packing.json")}
	if g := os.Getenv("ADAPTFLOW_GOLDEN"); g != "" {
		for _, base := range []string{"", ".."} {
			p := filepath.Join(base, g, "trl", "sft_packing", "packing.json")
			if filepath.IsAbs(g) {
				p = filepath.Join(g, "trl", "sft_packing", "packing.json")
			}
			if _, err := os.Stat(p); err == nil {
				return append(files, p)
			}
		}
		t.Errorf("ADAPTFLOW_GOLDEN=%s has no trl/sft_packing/packing.json", g)
	}
	return files
}

func TestGoldenPacking(t *testing.T) {
	cases := 0
	for _, file := range goldenFiles(t) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var g struct {
			Docs   [][]int32 `json:"docs"`
			Packed map[string]struct {
				InputIDs   [][]int32 `json:"input_ids"`
				SeqLengths [][]int32 `json:"seq_lengths"`
			} `json:"packed"`
		}
		if err := json.Unmarshal(b, &g); err != nil {
			t.Fatal(err)
		}
		var docs []Doc
		for i, d := range g.Docs {
			docs = append(docs, Doc{ID: fmt.Sprint(i), Tokens: d})
		}
		for name, want := range g.Packed {
			i := strings.LastIndexByte(name, '_')
			o := PackOptions{Strategy: strings.TrimSuffix(name[:i], "_split"), IsolateDocuments: true}
			fmt.Sscan(name[i+1:], &o.SequenceLength)
			got, _ := packAll(t, docs, o)
			if len(got) != len(want.InputIDs) {
				t.Fatalf("%s: %d rows, want %d", name, len(got), len(want.InputIDs))
			}
			for r, s := range got {
				if !slices.Equal(s.InputIDs, want.InputIDs[r]) {
					t.Errorf("%s row %d: %v, want %v", name, r, s.InputIDs, want.InputIDs[r])
				}
				if want.SeqLengths == nil {
					continue
				}
				var lens []int32
				for k, at := range s.DocStarts {
					end := int32(len(s.InputIDs))
					if k+1 < len(s.DocStarts) {
						end = s.DocStarts[k+1]
					}
					lens = append(lens, end-at)
				}
				if !slices.Equal(lens, want.SeqLengths[r]) {
					t.Errorf("%s row %d: lengths %v, want %v", name, r, lens, want.SeqLengths[r])
				}
			}
			cases++
		}
	}
	t.Logf("packing: %d cases ran, none out of scope", cases)
}

func randomDocs(n, maxLen int, seed uint64) []Doc {
	r := rand.New(rand.NewPCG(seed, 1))
	docs := make([]Doc, n)
	next := int32(0)
	for i := range docs {
		d := Doc{ID: DocID("f.txt", int64(i)), Source: "f.txt"}
		for k := range r.IntN(maxLen) {
			d.Tokens = append(d.Tokens, next)
			d.Spans = append(d.Spans, [2]int32{int32(3 * k), int32(3*k + 3)})
			next++
		}
		docs[i] = d
	}
	return docs
}

// TestPackKeepsEverything: every token of every document once, pieces whole and in place, labels and spans right, no row over the length.
func TestPackKeepsEverything(t *testing.T) {
	docs := randomDocs(200, 90, 7)
	total := 0
	at := map[int32][2]int{}
	for i, d := range docs {
		total += len(d.Tokens)
		for k, tok := range d.Tokens {
			at[tok] = [2]int{i, k}
		}
	}
	for _, strategy := range []string{PackBFDSplit, PackWrapped, PackNone} {
		for _, isolate := range []bool{true, false} {
			seqs, st := packAll(t, docs, PackOptions{Strategy: strategy, SequenceLength: 32, IsolateDocuments: isolate})
			seen := map[int32]bool{}
			for _, s := range seqs {
				if err := s.Validate(); err != nil {
					t.Fatal(err)
				}
				if len(s.InputIDs) > 32 || (!isolate && len(s.DocStarts) != 1) || (isolate && len(s.DocStarts) != len(s.DocIDs)) {
					t.Fatalf("%s: bad row %+v", strategy, s)
				}
				for p, tok := range s.InputIDs {
					if seen[tok] {
						t.Fatalf("token %d twice", tok)
					}
					seen[tok] = true
					want := tok
					if slices.Contains(s.DocStarts, int32(p)) {
						want = NoLoss
					}
					if s.Labels[p] != want {
						t.Fatalf("label %d at %d, want %d", s.Labels[p], p, want)
					}
				}
				if !isolate {
					continue
				}
				for k, from := range s.DocStarts {
					where := at[s.InputIDs[from]]
					if s.DocIDs[k] != docs[where[0]].ID || s.DocSpans[k][0] != int32(3*where[1]) {
						t.Fatalf("piece %d: %s %v, want %s from %d", k, s.DocIDs[k], s.DocSpans[k], docs[where[0]].ID, 3*where[1])
					}
				}
			}
			if len(seen) != total || st.Tokens != int64(total) || st.Sequences != int64(len(seqs)) || st.Dropped != 0 {
				t.Fatalf("%s: %d of %d tokens, %+v", strategy, len(seen), total, st)
			}
		}
	}
	seqs, st := packAll(t, docs, PackOptions{Strategy: PackWrapped, SequenceLength: 32, DropLast: true})
	if len(seqs) != total/32 || st.Dropped != int64(total%32) {
		t.Fatalf("drop_last: %d rows, %+v", len(seqs), st)
	}
}

func TestPackKeysApart(t *testing.T) {
	docs := []Doc{{ID: "a", Key: "x", Tokens: []int32{1, 2}}, {ID: "b", Key: "y", Tokens: []int32{3, 4}},
		{ID: "c", Key: "x", Tokens: []int32{5}}}
	seqs, _ := packAll(t, docs, PackOptions{Strategy: PackWrapped, SequenceLength: 8, IsolateDocuments: true})
	if len(seqs) != 2 || seqs[0].Key != "x" || !slices.Equal(seqs[0].InputIDs, []int32{1, 2, 5}) || seqs[1].Key != "y" {
		t.Fatalf("%+v", seqs)
	}
}

func TestPackOptions(t *testing.T) {
	for _, o := range []PackOptions{{Strategy: "ffd", SequenceLength: 8}, {Strategy: PackBFD, SequenceLength: 1},
		{Strategy: PackBFD, SequenceLength: 8, DropLast: true}} {
		if _, err := Pack(nil, o, nil); err == nil {
			t.Errorf("%+v accepted", o)
		}
	}
}

func TestSplitAndShards(t *testing.T) {
	const n = 20000
	counts := make([]int, 7)
	lo, hi := ^uint64(0), uint64(0)
	var hs []uint64
	for i := range n {
		id := DocID("x", int64(i))
		counts[ShardOf(Hash(id, 3, PurposeShard), 7)]++
		h := Hash(id, 3, PurposeValidation)
		hs = append(hs, h)
		lo, hi = min(lo, h), max(hi, h)
	}
	for s, c := range counts {
		if c < n/7*9/10 || c > n/7*11/10 {
			t.Errorf("shard %d has %d of %d", s, c, n)
		}
	}
	count := func(s Split) (v int) {
		for _, h := range hs {
			if s.Validation(h) {
				v++
			}
		}
		return v
	}
	for f, want := range map[float64][2]int{0: {0, 0}, 1e-12: {1, 1}, 0.1: {n * 9 / 100, n * 11 / 100}, 1: {n - 1, n - 1}} {
		if v := count(NewSplit(f, lo, hi)); v < want[0] || v > want[1] {
			t.Errorf("fraction %g: %d, want %v", f, v, want)
		}
	}
	if NewSplit(0.5, 9, 9).On {
		t.Error("a single document was split")
	}
	// The hash is part of every stored corpus: it must never change.
	if h := Hash("a.txt#0", 42, PurposeShard); h != 0x658b8185d222dad3 {
		t.Errorf("Hash = %#x", h)
	}
}
