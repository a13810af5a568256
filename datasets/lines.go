package datasets

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// lineReader reads lines, ended by \n alone, holding at most max bytes of one.
type lineReader struct {
	b   *bufio.Reader
	max int
	buf []byte
}

// next returns a line without its \n or \r\n, valid until the next call, and its whole size; a line larger than max is cut.
// With an error other than io.EOF the line is what had been read of it; io.EOF comes with no line.
func (l *lineReader) next() (line []byte, size int64, err error) {
	l.buf = l.buf[:0]
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

func blank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }
