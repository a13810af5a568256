package mem

import "os"

// Map returns n bytes of a file from byte off on as memory, which other processes that map them share; where write is set, what is written
// there goes to the file, which must be that long. Free ends the mapping. Where the system has no such mapping the error wraps
// [errors.ErrUnsupported].
func Map(f *os.File, off int64, n int, write bool) (*Block, error) {
	if n <= 0 {
		return &Block{}, nil
	}
	page := int64(os.Getpagesize())
	from := off / page * page
	raw, err := mapFile(f, from, int(off-from)+n, write)
	if err != nil {
		return nil, err
	}
	mapped.Add(int64(n))
	return &Block{raw: raw, data: raw[off-from:][:n:n]}, nil
}

// Fetch asks the system to read a mapped block from its file soon.
func (b *Block) Fetch() { adviseRange(b.raw, true) }

// Drop takes a mapped block out of this process's memory. The system may keep what it has of the file; the next access reads it, from there
// or from the disk.
func (b *Block) Drop() { adviseRange(b.raw, false) }
