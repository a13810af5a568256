package dedupe

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// merged reads ranges of many runs as one sorted sequence without repeated records. Each file is opened once; a range that fits its share
// of mergeBytes is held whole and its file closed, of a longer one no more than that share at a time.
type merged struct {
	width   int
	heap    []head
	rec     []byte // the last one that was returned
	section int
	begun   bool
}

// mergeBytes is what a task holds of the files that it reads, fewer than minChunk of none.
const (
	mergeBytes = 32 << 20
	minChunk   = 16 << 10
)

// head is a file at its next record; key is the record's first 8 bytes.
type head struct {
	section int
	key     uint64
	c       *cursor
}

func (a *head) before(b *head) bool {
	if a.section != b.section {
		return a.section < b.section
	}
	if a.key != b.key {
		return a.key < b.key
	}
	return bytes.Compare(a.c.record(), b.c.record()) < 0
}

// span is what is read of each run of so many sections: those from From to before To, and of them the records from lo to before hi,
// compared by as many bytes as these have; nil means no bound. With bounds it is one section.
type span struct {
	sections, from, to int
	lo, hi             []byte
}

// merge opens the runs.
func merge(paths []string, width int, of span) (*merged, error) {
	return mergeBy(paths, width, of, max(minChunk, mergeBytes/max(1, len(paths))))
}

// mergeBy is merge with so many bytes of each file at a time.
func mergeBy(paths []string, width int, of span, chunk int) (*merged, error) {
	m := &merged{width: width}
	for _, p := range paths {
		c, err := openCursor(p, width, of, chunk/width*width)
		if err != nil {
			m.Close()
			return nil, err
		}
		if c == nil {
			continue
		}
		m.heap = append(m.heap, head{c.section, prefix(c.record()), c})
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.down(i)
	}
	return m, nil
}

// Next returns the next record and its section; the record is valid until the next call. ok is false at the end.
func (m *merged) Next() (section int, rec []byte, ok bool, err error) {
	for len(m.heap) > 0 {
		h := &m.heap[0]
		rec := h.c.record()
		fresh := !m.begun || h.section != m.section || !bytes.Equal(rec, m.rec)
		if fresh {
			m.begun, m.section, m.rec = true, h.section, append(m.rec[:0], rec...)
		}
		more, err := h.c.next()
		if err != nil {
			return 0, nil, false, err
		}
		if more {
			h.section, h.key = h.c.section, prefix(h.c.record())
		} else {
			n := len(m.heap) - 1
			m.heap[0] = m.heap[n]
			m.heap[n] = head{}
			m.heap = m.heap[:n]
		}
		m.down(0)
		if fresh {
			return m.section, m.rec, true, nil
		}
	}
	return 0, nil, false, nil
}

func (m *merged) down(i int) {
	for {
		k := 2*i + 1
		if k >= len(m.heap) {
			return
		}
		if k+1 < len(m.heap) && m.heap[k+1].before(&m.heap[k]) {
			k++
		}
		if !m.heap[k].before(&m.heap[i]) {
			return
		}
		m.heap[i], m.heap[k] = m.heap[k], m.heap[i]
		i = k
	}
}

// Close closes the files.
func (m *merged) Close() {
	for _, h := range m.heap {
		h.c.close()
	}
	m.heap = nil
}

// each calls do with every record of a span of runs and its section.
func each(paths []string, width int, of span, do func(section int, rec []byte) error) error {
	m, err := merge(paths, width, of)
	if err != nil {
		return err
	}
	defer m.Close()
	for {
		section, rec, ok, err := m.Next()
		if err != nil || !ok {
			return err
		}
		if err := do(section, rec); err != nil {
			return err
		}
	}
}

func prefix(rec []byte) uint64 {
	if len(rec) >= 8 {
		return binary.BigEndian.Uint64(rec)
	}
	var k [8]byte
	copy(k[:], rec)
	return binary.BigEndian.Uint64(k[:])
}

// cursor reads a span of a run.
type cursor struct {
	f       *Run // nil once all is in buf
	width   int
	counts  []int // records of the section and those after it that are left
	section int
	off     int64 // of what is not yet in buf
	left    int64 // bytes of it
	chunk   int
	buf     []byte
	at      int
}

// openCursor opens a run at the first record of a span; nil where there is none.
func openCursor(path string, width int, of span, chunk int) (*cursor, error) {
	f, err := openRun(path, width, of.sections)
	if err != nil {
		return nil, err
	}
	c := &cursor{f: f, width: width, section: of.from, chunk: max(chunk, width)}
	c.off = f.starts[of.from]
	for k := of.from; k < of.to; k++ {
		from, to, _, err := f.find(k, of.lo, of.hi)
		if err != nil {
			f.Close()
			return nil, err
		}
		c.off += int64(from) * int64(width) // 0 but in a single section
		c.counts = append(c.counts, to-from)
		c.left += int64(to-from) * int64(width)
	}
	if c.left == 0 {
		return nil, f.Close()
	}
	c.skip()
	if err := c.fill(); err != nil {
		c.close()
		return nil, err
	}
	if c.left == 0 {
		c.close()
	}
	return c, nil
}

func (c *cursor) record() []byte { return c.buf[c.at : c.at+c.width] }

// skip goes to the next section that has records.
func (c *cursor) skip() {
	for c.counts[0] == 0 {
		c.counts = c.counts[1:]
		c.section++
	}
}

func (c *cursor) fill() (err error) {
	n := min(int64(c.chunk), c.left)
	if c.buf, err = c.f.read(c.buf, c.off, n); err != nil {
		return fmt.Errorf("%s: %w", c.f.path, err)
	}
	c.at = 0
	c.off += n
	c.left -= n
	return nil
}

// next goes to the next record; false: there is none, and the file is closed.
func (c *cursor) next() (bool, error) {
	c.counts[0]--
	if c.at += c.width; c.at == len(c.buf) {
		if c.left == 0 {
			c.close()
			return false, nil
		}
		if err := c.fill(); err != nil {
			return false, err
		}
	}
	c.skip()
	return true, nil
}

func (c *cursor) close() {
	if c.f != nil {
		c.f.Close()
		c.f = nil
	}
}
