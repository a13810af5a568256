package quant

import (
	"sync"

	"github.com/adaptflow/adaptflow/internal/mem"
)

// Place gives the dense matrices of a model memory of another kind than the process's own, such as that of a file.
type Place interface {
	// Matrix returns memory of n bytes for the packed matrix of a name, and whether the matrix lies there already. use may be nil.
	Matrix(name string, n int) (b *mem.Block, use *Use, ready bool, err error)
}

// BuildIn is Build with the memory that place has for the matrix of a name. Where the matrix lies there already no rows are read. A nil
// place, and a quantised storage, is Build.
func (s *Storage) BuildIn(place Place, name string, out, in int, rows Rows, half bool) (Weight, error) {
	if place == nil || s.Quantised() {
		return s.Build(out, in, rows, half)
	}
	b, use, ready, err := place.Matrix(name, denseBytes(out, in, s.half()))
	if err != nil {
		return nil, err
	}
	w := newDense(out, in, s.half(), b)
	w.use = use
	if ready {
		return w, nil
	}
	use.begin()
	defer use.end()
	return fill(denseSink{in, w}, out, in, rows)
}

func (s *Storage) half() bool { return s.Name == "bfloat16" }

// Stream keeps in memory, of matrices that lie in a mapped file, those alone that are being used and the one that is next: a base larger
// than memory is read from the disk layer by layer, in each pass anew, or from what the system has kept of the file.
type Stream struct {
	mu   sync.Mutex
	uses []*Use
	last int
}

// Use is one matrix of a Stream. A nil Use is that of a matrix always in memory.
type Use struct {
	stream *Stream
	at     int
	block  *mem.Block
	users  int
}

// Add gives the matrix in b, which comes after those that were added before, to the stream.
func (s *Stream) Add(b *mem.Block) *Use {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &Use{stream: s, at: len(s.uses), block: b}
	s.uses = append(s.uses, u)
	return u
}

// begin asks for the matrix, and for the one that follows in the direction in which the matrices are used: up in a forward pass, down in a
// backward one.
func (u *Use) begin() {
	if u == nil {
		return
	}
	s := u.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.users++; u.users == 1 {
		u.block.Fetch()
	}
	next := u.at + 1
	if u.at < s.last {
		next = u.at - 1
	}
	s.last = u.at
	if next >= 0 && next < len(s.uses) {
		s.uses[next].block.Fetch()
	}
}

// end lets the matrix go when nobody uses it any more.
func (u *Use) end() {
	if u == nil {
		return
	}
	u.stream.mu.Lock()
	defer u.stream.mu.Unlock()
	if u.users--; u.users == 0 {
		u.block.Drop()
	}
}
