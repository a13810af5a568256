package dedupe

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// bucket is an object store in this process; asked counts the bytes that were read of it.
type bucket struct {
	sync.Mutex
	files map[string][]byte
	asked int64
}

var memory = &bucket{files: map[string][]byte{}}

func init() { storage.Register("dedupe", memory) }

func (m *bucket) Glob(string) ([]string, error) { return nil, nil }
func (m *bucket) Remove(string) error           { return nil }

func (m *bucket) Put(path string, r io.Reader) error {
	b, err := io.ReadAll(r)
	m.Lock()
	defer m.Unlock()
	m.files[path] = b
	return err
}

func (m *bucket) OpenReaderAt(path string) (storage.ReaderAt, error) {
	m.Lock()
	defer m.Unlock()
	b := m.files[path]
	m.asked += int64(len(b))
	return struct {
		*bytes.Reader
		io.Closer
	}{bytes.NewReader(b), io.NopCloser(nil)}, nil
}

func (m *bucket) ReadRange(path string, off, n int64) ([]byte, error) {
	m.Lock()
	defer m.Unlock()
	b := m.files[path]
	if off+n > int64(len(b)) {
		return nil, fmt.Errorf("%s: %w", path, io.ErrUnexpectedEOF)
	}
	m.asked += n
	return bytes.Clone(b[off : off+n]), nil
}

// corpus writes runs of 40 documents each of three bands, of which one document in four repeats a band of another near it.
func corpus(t testing.TB, dir string, s Step, runs int) (paths []string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(9, uint64(runs)))
	for r := range runs {
		sections := make([][]byte, 3)
		for d := range uint32(40) {
			id := ID{uint32(r) + 1, d}
			for k := range sections {
				key := rng.Uint64() >> 3
				if rng.IntN(4) == 0 {
					key = uint64(rng.IntN(runs*10)) << 40
				}
				sections[k] = appendID(append(sections[k], byte(key>>56), byte(key>>48), byte(key>>40), byte(key>>32), byte(key>>24),
					byte(key>>16), byte(key>>8), byte(key)), id)
			}
		}
		path := storage.Join(dir, fmt.Sprintf("signed-%05d.run", r))
		if err := WriteRun(path, Width(s), sections); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func threeBands(t testing.TB) Step {
	s := NewMinHashStep()
	s.NumBuckets, s.HashesPerBucket = 3, 1
	if err := s.Prepare(); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestOpensGrowWithTheData: files are opened as often as there is data, and not as its square, from gathering on.
func TestOpensGrowWithTheData(t *testing.T) {
	s := threeBands(t)
	limits := Limits{Fan: 16, RangeRecords: 320, PartLinks: 2000, FileRemovals: 200}
	var opens [4]int64
	for i, runs := range []int{4, 16, 64, 256} {
		dir := t.TempDir()
		paths := corpus(t, dir, s, runs)
		before := storage.Opens()
		find(t, Plan{Dir: dir, Limits: limits}, s, paths)
		opens[i] = (storage.Opens() - before) / 2 // each task is done twice
		t.Logf("%d runs: %d opens", runs, opens[i])
	}
	for i := 1; i < len(opens); i++ {
		if grown := float64(opens[i]) / float64(opens[i-1]); grown > 5 {
			t.Errorf("four times the data: %.1f times the opens (%v)", grown, opens)
		}
	}
}

// TestObjectStore: on an object store, where a read is a request, the removals are the same, and little is read that is not wanted.
func TestObjectStore(t *testing.T) {
	s := threeBands(t)
	for what, limits := range map[string]Limits{
		"direct": {RangeRecords: 500, PartLinks: 300, FileRemovals: 100},
		"spread": {Fan: 4, RangeRecords: 500, PartLinks: 300, SpillBytes: 1000, FileRemovals: 100},
	} {
		var got [2]map[ID]*Removal
		for i, dir := range []string{filepath.Join(t.TempDir(), "local"), "dedupe://bucket/" + what} {
			paths := corpus(t, dir, s, 40)
			memory.asked = 0
			find(t, Plan{Dir: dir, Limits: limits}, s, paths)
			files, err := ReadRemovalList(RemovalsPath(dir))
			if err != nil {
				t.Fatal(err)
			}
			if len(files) < 2 || strings.HasPrefix(files[0].Path, "dedupe:") != (i == 1) {
				t.Errorf("%s: %+v", what, files)
			}
			if got[i], err = ReadRemovals(files, ID{}, ID{math.MaxUint32, math.MaxUint32}); err != nil {
				t.Fatal(err)
			}
		}
		if len(got[0]) < 100 || !reflect.DeepEqual(got[0], got[1]) {
			t.Errorf("%s: %d removals, %d on the object store, or they differ", what, len(got[0]), len(got[1]))
		}
		t.Logf("%s: %d removals, %d bytes read", what, len(got[0]), memory.asked)
	}
	memory.files["dedupe://bucket/cut.run"] = []byte(runMagic + "\x00\x00\x00\x10\x00\x00\x00\x01")
	if _, err := openRun("dedupe://bucket/cut.run", 16, 1); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("%v", err)
	}
}
