package dedupe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
)

// TestMerge: any span of runs, read in pieces or whole, is what sorting all records gives, each once, of keys that are looked for in many
// pieces, too.
func TestMerge(t *testing.T) {
	const width, sections = 12, 3
	rng := rand.New(rand.NewPCG(7, 7))
	at := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	dir := t.TempDir()
	var paths []string
	var all [sections][][]byte
	for i := range 4 {
		own := make([][]byte, sections)
		for k := range own {
			for range 12000 * k { // the first section is empty
				rec := binary.BigEndian.AppendUint64(nil, rng.Uint64N(40000))
				rec = binary.BigEndian.AppendUint32(rec, rng.Uint32N(2))
				if rng.IntN(3) == 0 { // a key that many have
					rec = binary.BigEndian.AppendUint32(at(20_000), rng.Uint32N(1<<30))
				}
				own[k] = append(own[k], rec...)
				all[k] = append(all[k], rec)
			}
		}
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("%d.run", i)))
		if err := WriteRun(paths[i], width, own); err != nil {
			t.Fatal(err)
		}
	}
	for k := range all {
		slices.SortFunc(all[k], bytes.Compare)
		all[k] = slices.CompactFunc(all[k], bytes.Equal)
	}
	for _, of := range []span{
		{sections, 0, 3, nil, nil}, {sections, 1, 2, nil, nil}, {sections, 2, 3, at(39_999), nil}, {sections, 2, 3, nil, at(1)},
		{sections, 1, 2, at(7_000), at(7_001)}, {sections, 2, 3, at(100), at(39_000)}, {sections, 2, 3, at(50_000), nil},
		{sections, 0, 1, nil, nil},
		{sections, 1, 2, at(20_000), at(20_000)}, {sections, 1, 2, at(20_000), at(20_001)}, {sections, 2, 3, at(19_999), at(20_000)},
	} {
		var want [][]byte
		for k := of.from; k < of.to; k++ {
			for _, rec := range all[k] {
				if (of.lo == nil || bytes.Compare(rec[:8], of.lo) >= 0) && (of.hi == nil || bytes.Compare(rec[:8], of.hi) < 0) {
					want = append(want, append([]byte{byte(k)}, rec...))
				}
			}
		}
		for _, chunk := range []int{1 << 20, 1000, 1} {
			m, err := mergeBy(paths, width, of, chunk)
			if err != nil {
				t.Fatal(err)
			}
			var got [][]byte
			for {
				section, rec, ok, err := m.Next()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				got = append(got, append([]byte{byte(section)}, rec...))
			}
			m.Close()
			if !slices.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("%+v in chunks of %d: %d records, want %d, or they differ", of, chunk, len(got), len(want))
			}
		}
	}
}
