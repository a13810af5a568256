package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Kind is a kind of file that is read whole, with the most bytes that one may have: more is a mistake or an attack, and no reason to take
// memory.
type Kind struct {
	Name string
	Max  int64
}

// The kinds of files that are read whole. The largest known of each is a fraction of its bound.
var (
	KindNote      = Kind{"a note of a cache or a server", 1 << 20} // references, checksums, what is up
	KindRecipe    = Kind{"a recipe", 1 << 20}
	KindTemplate  = Kind{"a chat template", 4 << 20}
	KindConfig    = Kind{"a configuration", 32 << 20} // config.json, generation_config.json, tokenizer_config.json, adapter_config.json, …
	KindIndex     = Kind{"an index of shards", 64 << 20}
	KindTokenizer = Kind{"a tokenizer", 256 << 20}
	KindPrompts   = Kind{"a file of prompts", 256 << 20}
	KindState     = Kind{"a record of a run", 1 << 30} // what this program wrote itself
)

// ReadSmall returns the whole content of a file of a kind. A file with more bytes than the kind may have, and whatever is not a regular
// file, is an error that names it; nothing of it is read then.
func ReadSmall(path string, k Kind) ([]byte, error) {
	f, err := OpenReaderAt(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := k.read(path, f.Size(), NewReader(f))
	if err != nil {
		return nil, err
	}
	return b, nil
}

// ReadSmallFS is [ReadSmall] of a file of a file system.
func ReadSmallFS(fsys fs.FS, name string, k Kind) ([]byte, error) {
	// Asked before it is opened: opening a FIFO waits for a writer.
	st, err := fs.Stat(fsys, name)
	if err == nil {
		err = regular(st.Mode())
	}
	if err != nil {
		return nil, named(name, err)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, named(name, err)
	}
	defer f.Close()
	return k.read(path.Base(name), st.Size(), f)
}

// named puts a file's name before an error that lacks it.
func named(name string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return err
	}
	return fmt.Errorf("%s: %w", path.Base(name), err)
}

// read reads a file of the kind that says it has size bytes, and no byte more than the kind may have.
func (k Kind) read(path string, size int64, r io.Reader) ([]byte, error) {
	if size > k.Max {
		return nil, fmt.Errorf("%s: it has %s, and %s may have %s: is it the right file?", path, Size(size), k.Name, Size(k.Max))
	}
	b := make([]byte, size, size+1) // one more, so that the end is found without growing
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if k == KindState { // written by this program
		return b, nil
	}
	return unmarked(path, b)
}

// units are the suffixes of a size, the longer before those they end with.
var units = []struct {
	suffix string
	bytes  float64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

// ParseSize is the number of bytes, above 0, that a person writes as 2GiB, 1.5 GB or 4096.
func ParseSize(text string) (int64, error) {
	scale, number := 1.0, strings.TrimSpace(text)
	for _, u := range units {
		if strings.HasSuffix(number, u.suffix) {
			scale, number = u.bytes, strings.TrimSpace(strings.TrimSuffix(number, u.suffix))
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || !(v > 0) || v*scale > 1<<60 {
		return 0, fmt.Errorf("%q is not a size such as 800MiB or 2GiB", text)
	}
	return int64(v * scale), nil
}

// Size is a number of bytes for a person to read: "3.5 MiB".
func Size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// regular refuses what is not a regular file: reading a FIFO waits, a device has no end.
func regular(m fs.FileMode) error {
	switch what := kindOf(m); {
	case what == "":
		return nil
	case m.IsDir():
		return errors.New("is a folder, a file is wanted")
	default:
		return fmt.Errorf("is %s, a regular file is wanted: write what it gives into one first", what)
	}
}

// kindOf names what is not a regular file; it is empty for one that is.
func kindOf(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return ""
	case m.IsDir():
		return "a folder"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO (a pipe)"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "no regular file"
}
