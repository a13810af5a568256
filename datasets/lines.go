package datasets

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// lineReader reads lines, ended by \n alone, holding at most max bytes of one. Of a block ([blockSource]) it reads those that begin in it,
// each to its end.
type lineReader struct {
	b   *bufio.Reader
	max int
	buf []byte

	begun bool // the line to be read began in the block, whether or not a byte of it is left there
	over  bool // the end of the block has been read
}

// next returns a line without its \n or \r\n, valid until the next call, and its whole size; a line larger than max is cut.
// With an error other than io.EOF the line is what had been read of it; io.EOF comes with no line.
func (l *lineReader) next() (line []byte, size int64, err error) {
	l.buf = l.buf[:0]
	begun := l.begun
	l.begun = false
	if l.over && !begun {
		return nil, 0, io.EOF
	}
	for {
		part, err := l.b.ReadSlice('\n')
		size += int64(len(part))
		// Two bytes more than max are kept, so that a line of max bytes and its \r\n are whole.
		if room := l.max + 2 - len(l.buf); room > 0 {
			l.buf = append(l.buf, part[:min(room, len(part))]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, errBlockEnd) {
			l.over = true
			if size > 0 || begun {
				continue
			}
			return nil, 0, io.EOF
		}
		if errors.Is(err, io.EOF) && size > 0 {
			err = nil
		}
		if err != nil {
			return l.buf, size, err
		}
		line = l.buf
		if int64(len(line)) == size {
			n := len(line)
			line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
			size -= int64(n - len(line))
		}
		return line, size, nil
	}
}

// skip goes on behind the line that a block begins in, which is another block's.
func (l *lineReader) skip() error {
	for {
		_, err := l.b.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, errBlockEnd):
			l.over = true
			return nil
		}
		return err
	}
}

// discard leaves out the first bytes of a file, which belong to its first line.
func (l *lineReader) discard(n int) error {
	for l.begun = true; n > 0; {
		_, err := l.b.ReadByte()
		switch {
		case err == nil:
			n--
		case errors.Is(err, errBlockEnd):
			l.over = true
		default:
			return err
		}
	}
	return nil
}

func blank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }
