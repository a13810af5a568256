package dedupe

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sort"
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// TestRange: a range of a run's records, of any length and place, is what looking at all of them gives, on a disk and on an object store,
// and a short one takes no more requests than the formula has.
func TestRange(t *testing.T) {
	const n = 50000
	rng := rand.New(rand.NewPCG(1, 2))
	var section []byte
	for range n {
		section = binary.BigEndian.AppendUint64(section, uint64(rng.IntN(n))) // some keys are of several records
		section = append(section, make([]byte, 4)...)
		section = binary.BigEndian.AppendUint64(section, rng.Uint64())
	}
	section = sortRecords(section, removalWidth)
	all := len(section) / removalWidth
	naive := func(lo, hi []byte) []byte {
		first := func(key []byte) int {
			return sort.Search(all, func(i int) bool { return bytes.Compare(section[i*removalWidth:][:8], key) >= 0 })
		}
		from, to := 0, all
		if lo != nil {
			from = first(lo)
		}
		if hi != nil {
			to = first(hi)
		}
		return section[from*removalWidth : max(from, to)*removalWidth]
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "a.run"), "dedupe://range/a.run"} {
		if err := WriteRun(path, removalWidth, [][]byte{slices.Clone(section)}); err != nil {
			t.Fatal(err)
		}
		for i := range 400 {
			key := func(at int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(at)) }
			at := rng.IntN(n)
			length := []int{0, 1, 20, 3000, 9000, n}[i%6]
			lo, hi := key(at), key(at+length)
			switch i % 20 {
			case 0:
				lo = nil
			case 1:
				hi = nil
			case 2:
				lo, hi = hi, lo
			}
			opens := storage.Opens()
			f, err := openRun(path, removalWidth, 1)
			if err != nil {
				t.Fatal(err)
			}
			got, err := f.Range(nil, 0, lo, hi)
			if err != nil || f.Close() != nil || !bytes.Equal(got, naive(lo, hi)) {
				t.Fatalf("%s: from %x to %x: %d bytes, want %d; %v", path, lo, hi, len(got), len(naive(lo, hi)), err)
			}
			most, _ := Limits{FileRemovals: n}.RemovalReads()
			if took := storage.Opens() - opens; length <= 3000 && i%20 > 2 && took > most || most > 4+int64(bits.Len(n)) {
				t.Errorf("%s: a range of %d took %d requests, the most are %d", path, length, took, most)
			}
		}
	}
}
