package parts

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage"
)

type record struct {
	place uint64
	body  string
}

// memory is an object store in this process.
type memory struct {
	sync.Mutex
	files  map[string][]byte
	ranges int
}

func (m *memory) Glob(string) ([]string, error) { return nil, nil }
func (m *memory) Remove(string) error           { return nil }

func (m *memory) Put(path string, r io.Reader) error {
	m.Lock()
	defer m.Unlock()
	b, err := io.ReadAll(r)
	m.files[path] = b
	return err
}

func (m *memory) OpenReaderAt(path string) (storage.ReaderAt, error) {
	m.Lock()
	defer m.Unlock()
	b, ok := m.files[path]
	if !ok {
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	return struct {
		*bytes.Reader
		io.Closer
	}{bytes.NewReader(b), io.NopCloser(nil)}, nil
}

func (m *memory) ReadRange(path string, off, n int64) ([]byte, error) {
	m.Lock()
	defer m.Unlock()
	m.ranges++
	if b := m.files[path]; off+n <= int64(len(b)) {
		return slices.Clone(b[off : off+n]), nil
	}
	return nil, fmt.Errorf("%s: %w", path, io.ErrUnexpectedEOF)
}

// bucket is the store of parts://, which [Create] compresses what it writes to for.
var bucket = &memory{files: map[string][]byte{}}

func init() { storage.Register("parts", bucket) }

// some are n records of a width below a key, with places and records that repeat.
func some(n, width int, key int64) []record {
	rng := rand.New(rand.NewPCG(uint64(n), uint64(width)))
	first, last := Range(key)
	out := make([]record, n)
	for i := range out {
		b := make([]byte, cmp.Or(width, rng.IntN(200)))
		for k := range b {
			b[k] = "ab"[rng.IntN(2)]
		}
		out[i] = record{first | rng.Uint64()&(last-first), string(b)}
		if i%7 == 3 {
			out[i].place = out[i-1].place
		}
		if i%11 == 5 {
			out[i] = out[i-1]
		}
	}
	return out
}

func sorted(all []record) []record {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b record) int { return cmp.Or(cmp.Compare(a.place, b.place), strings.Compare(a.body, b.body)) })
	return all
}

func write(t *testing.T, path string, key int64, width int, all []record) ([]Slice, Slice) {
	t.Helper()
	set := NewSet(width)
	for _, r := range all {
		set.Add(r.place, []byte(r.body))
	}
	cut, whole, err := set.Write(path, key, false)
	if err != nil {
		t.Fatal(err)
	}
	return cut, whole
}

func collect(all ...*Records) (out []record) {
	for place, b := range Merge(all...) {
		out = append(out, record{place, string(b)})
	}
	return out
}

// TestRoundTrip: parts and the whole are what was written, in order, on a disk and compressed; a slice is one request; the index says what
// the writer did; another order of the records gives the same bytes.
func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	for i, c := range []struct {
		name  string
		width int
		key   int64
		dir   string
	}{
		{"lengths", 0, Root, dir},
		{"width", 24, Root, dir},
		{"below", 3, Key(0xabcd<<48, 16), dir},
		{"lowest", 8, Key(0xabcdef0123456789, MaxBits), dir},
		{"store", 0, Root, "parts://bucket"},
		{"store-below", 16, Key(0xab<<56, 8), "parts://bucket"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, path := some(2000+i, c.width, c.key), storage.Join(c.dir, c.name+".parts")
			cut, whole := write(t, path, c.key, c.width, all)
			want := sorted(all)
			bucket.ranges = 0
			opens := storage.Opens()
			lists, err := ReadAll(cut)
			if err != nil {
				t.Fatal(err)
			}
			if n := storage.Opens() - opens; n != int64(len(cut)) || !storage.IsLocal(path) && bucket.ranges != len(cut) {
				t.Errorf("%d opens and %d requests for %d slices", n, bucket.ranges, len(cut))
			}
			var back []record
			held, key := int64(0), int64(-1)
			for k, l := range lists {
				s, n := cut[k], l.Len()
				first, last := Range(s.Key)
				if s.Key <= key || Bits(s.Key) != min(Bits(c.key)+8, MaxBits) || n != s.Records || s.Zstd == storage.IsLocal(path) {
					t.Errorf("%+v after %d", s, key)
				}
				key, held = s.Key, held+s.Bytes
				for _, r := range collect(l) {
					if back = append(back, r); r.place < first || r.place > last {
						t.Errorf("%d in the part of %d to %d", r.place, first, last)
					}
				}
			}
			if !slices.Equal(back, want) {
				t.Error("other records came back by parts")
			}
			if r, err := whole.Read(); err != nil || !slices.Equal(collect(r), want) || whole.Bytes != held || whole.Key != c.key {
				t.Error("other records came back as a whole", err, whole)
			}
			if a, w, err := Open(path); err != nil || !slices.Equal(a, cut) || w != whole {
				t.Errorf("the index has %v %+v, %v", a, w, err)
			}
			again := storage.Join(c.dir, "again-"+c.name)
			slices.Reverse(all)
			write(t, again, c.key, c.width, all)
			a, err1 := storage.ReadFile(path)
			if b, err := storage.ReadFile(again); err != nil || err1 != nil || !bytes.Equal(a, b) {
				t.Error("another order gives other bytes", err, err1)
			}
		})
	}
}

// TestMerge: what lies in many files comes together in order, whatever their order, with equal records as often as they are there.
func TestMerge(t *testing.T) {
	all := some(3000, 0, Root)
	want := sorted(all)
	var wholes []Slice
	for i := 0; i < len(all); {
		n := min(1+i%500, len(all)-i)
		_, w := write(t, filepath.Join(t.TempDir(), "a.parts"), Root, 0, all[i:i+n])
		wholes, i = append(wholes, w), i+n
	}
	for range 3 {
		lists, err := ReadAll(wholes)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(collect(lists...), want) {
			t.Fatal("other records")
		}
		rand.Shuffle(len(wholes), func(i, k int) { wholes[i], wholes[k] = wholes[k], wholes[i] })
	}
	set := NewSet(0)
	for _, r := range all {
		set.Add(r.place, []byte(r.body))
	}
	set.Sort(true)
	var got []record
	for p, b := range set.All() {
		got = append(got, record{p, string(b)})
	}
	if !slices.Equal(got, slices.Compact(want)) {
		t.Error("a set without repetitions has others")
	}
}

// TestDamage: each byte of a file that is another is found, by the index or by the slices of which it is, and a file that is cut off, too.
func TestDamage(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "a.parts"), "parts://bucket/damage"} {
		cut, whole := write(t, path, Root, 0, some(12, 0, Root))
		put := func(b []byte) {
			write := storage.WriteFile
			if storage.IsLocal(path) { // without waiting for the disk
				write = func(path string, b []byte) error { return os.WriteFile(path, b, 0o600) }
			}
			err := write(path, b)
			if err != nil {
				t.Fatal(err)
			}
		}
		good, err := storage.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range good {
			bad := slices.Clone(good)
			bad[i] ^= 1 << (i % 8)
			put(bad)
			_, _, err := Open(path)
			_, partErr := ReadAll(cut)
			_, wholeErr := whole.Read()
			if err == nil && (partErr == nil || wholeErr == nil) {
				t.Fatalf("byte %d of %d is another: index %v, parts %v, whole %v", i, len(good), err, partErr, wholeErr)
			}
			for _, err := range []error{err, partErr, wholeErr} {
				if err != nil && (!strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "run the stage")) {
					t.Fatal(err)
				}
			}
		}
		for n := range good {
			put(good[:n])
			if _, _, err := Open(path); err == nil {
				t.Fatalf("the first %d of %d bytes were opened", n, len(good))
			}
			if _, err := whole.Read(); err == nil && n < int(whole.Len) {
				t.Fatalf("the first %d of %d bytes were read", n, len(good))
			}
		}
	}
	_, err := (&Slice{Path: filepath.Join(t.TempDir(), "none.parts"), Len: 3}).Read()
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "none.parts") {
		t.Error(err)
	}
	p := filepath.Join(t.TempDir(), "other")
	os.WriteFile(p, bytes.Repeat([]byte("x"), 500), 0o600)
	if _, _, err := Open(p); err == nil || !strings.Contains(err.Error(), p) {
		t.Error(err)
	}
}

// TestOrder: what is written out of order, elsewhere or in another width is a mistake of the program.
func TestOrder(t *testing.T) {
	key := Key(7<<56, 8)
	for name, all := range map[string][]record{
		"place":   {{7<<56 + 2, "a"}, {7<<56 + 1, "a"}},
		"bytes":   {{7 << 56, "b"}, {7 << 56, "a"}},
		"outside": {{8 << 56, "a"}},
		"width":   {{7 << 56, "aa"}},
	} {
		func() {
			w, err := Create(filepath.Join(t.TempDir(), "a.parts"), key, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Abort()
			defer func() {
				if recover() == nil {
					t.Error(name, "was written")
				}
			}()
			for _, r := range all {
				w.Write(r.place, []byte(r.body))
			}
		}()
	}
	// a producer that is wrong is found by the reader, though the checksum is right
	b := appendRecord(appendRecord(nil, 0, 2, nil), 0, 1, nil)
	if _, err := newRecords(&Slice{Records: 2}, b); err == nil {
		t.Error("records out of order were read")
	}
}

// TestKey: keys are of the ranges that they say, in their order.
func TestKey(t *testing.T) {
	if f, l := Range(Root); f != 0 || l != 1<<64-1 {
		t.Error(f, l)
	}
	for bits := range MaxBits + 1 {
		for _, p := range []uint64{0, 1, 0x123456789abcdef0, 1<<63 + 7, 1<<64 - 1} {
			k := Key(p, bits)
			f, l := Range(k)
			if k < 0 || Bits(k) != bits || p < f || p > l || l-f != rest(bits) || Key(f, bits) != k || Key(l, bits) != k {
				t.Errorf("place %x, %d bits: %x, %x to %x", p, bits, k, f, l)
			}
			if l < 1<<64-1 && (Key(l+1, bits) <= k || Key(l+1, MaxBits) <= k) {
				t.Errorf("the range after %x does not come after it", l)
			}
		}
	}
}

// FuzzRead: whatever bytes a file has, it is read or refused.
func FuzzRead(f *testing.F) {
	path := filepath.Join(f.TempDir(), "a.parts")
	set := NewSet(0)
	for _, r := range some(20, 0, Root) {
		set.Add(r.place, []byte(r.body))
	}
	_, whole, err := set.Write(path, Root, false)
	if err != nil {
		f.Fatal(err)
	}
	good, err := storage.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[whole.Len:], int64(len(good)), good[:whole.Len], 0)
	f.Add([]byte(magic), int64(8), binary.BigEndian.AppendUint64(nil, 9), 3)
	f.Fuzz(func(t *testing.T, index []byte, size int64, records []byte, width int) {
		if all, _, err := readIndex(index, size); err == nil && len(all)*entryBytes > len(index) {
			t.Error("more parts than the index has bytes for")
		}
		if width < 0 {
			return
		}
		s := Slice{Width: int64(width)}
		for rest := records; len(rest) > 0; s.Records++ {
			_, _, n := cut(rest, width)
			if n == 0 {
				break
			}
			rest = rest[n:]
		}
		r, err := newRecords(&s, records)
		if err != nil {
			return
		}
		var back []byte
		for r.Next() {
			place, b := r.Record()
			back = appendRecord(back, width, place, b)
		}
		if width > 0 && !bytes.Equal(back, records) { // a length may be written in more bytes than it needs
			t.Error("other records")
		}
	})
}
