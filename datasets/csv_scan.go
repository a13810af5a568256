package datasets

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// fieldScanner cuts a file into rows of fields and keeps what stands in the file. Quotation marks work as in Python's csv: one at the
// beginning of a field opens it, two inside are one, one elsewhere is a character. Two things that Python lets pass are faults, since text
// is lost in them: characters after a closing mark, and a mark that is never closed, of which the line alone is given up: the lines after
// it are read as rows of their own.
type fieldScanner struct {
	b      *bufio.Reader
	comma  rune
	quoted bool
	end    byte // of a line
	max    int  // of a row; what is beyond it is counted, not kept

	raw    []byte   // the row as it stands, without its line end; the beginning of one over the limit
	fields [][]byte // valid until the next call, none of a row over the limit
	fault  string
	size   int64 // of the row
	begin  int64 // the line that it begins on, from 1

	line    int64    // lines read
	again   [][]byte // lines to be read again
	joined  []byte   // the fields, one after another
	machine quoteMachine
}

// physical appends a line with its end to the row and runs the machine over it where fields may be quoted. io.EOF comes with no line.
func (s *fieldScanner) physical() error {
	if len(s.again) > 0 {
		s.line++
		s.take(s.again[0])
		s.again = s.again[1:]
		return nil
	}
	from, over := len(s.raw), false
	for first := true; ; first = false {
		part, err := s.b.ReadSlice(s.end)
		if errors.Is(err, io.EOF) && (len(part) > 0 || !first) {
			err = nil
		}
		if first && err == nil {
			s.line++
			s.take(part)
			return nil
		}
		s.size += int64(len(part))
		room := s.max + 2 - len(s.raw)
		if over = over || len(part) > room; !over {
			s.raw = append(s.raw, part...)
		} else if s.quoted {
			if !s.machine.forget {
				s.machine.quiet = false
				s.run(s.raw[from:])
			}
			s.machine.forget = true
			s.run(part)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err == nil {
			s.line++
			if s.quoted && !over {
				s.run(s.raw[from:])
			}
		}
		return err
	}
}

// take adds a whole line.
func (s *fieldScanner) take(line []byte) {
	s.size += int64(len(line))
	if room := s.max + 2 - len(s.raw); len(line) > room {
		s.machine.forget = true
		s.raw = append(s.raw, line[:room]...)
	} else {
		s.raw = append(s.raw, line...)
	}
	if s.quoted {
		s.run(line)
	}
}

func (s *fieldScanner) run(line []byte) {
	if s.machine.quiet && bytes.IndexByte(line, '"') < 0 {
		return
	}
	s.machine.quiet = false
	s.joined = s.machine.run(line, s.joined)
}

// next reads a row that is not empty.
func (s *fieldScanner) next() error {
	for {
		s.raw, s.fields, s.joined, s.fault, s.size, s.begin = s.raw[:0], s.fields[:0], s.joined[:0], "", 0, s.line+1
		s.machine = quoteMachine{comma: s.comma, quiet: true, ends: s.machine.ends[:0]}
		if err := s.physical(); err != nil {
			return err
		}
		if s.machine.state == inQuotes {
			if err := s.readOn(); err != nil {
				return err
			}
		}
		s.finish()
		if s.size > 0 {
			return nil
		}
	}
}

// readOn reads the further lines of a row whose field is in quotation marks.
func (s *fieldScanner) readOn() error {
	lines := []int{len(s.raw)} // where each ends in raw
	for s.machine.state == inQuotes {
		err := s.physical()
		switch {
		case err == nil:
			lines = append(lines, len(s.raw))
		case !errors.Is(err, io.EOF):
			return err
		case s.machine.forget:
			s.fault = "a quotation mark is never closed, so that this is all the rest of the file"
			return nil
		default:
			s.fault = fmt.Sprintf("a quotation mark opens field %d and none closes it", len(s.machine.ends)+1)
			rest := bytes.Clone(s.raw[lines[0]:])
			for i := 1; i < len(lines); i++ {
				s.again = append(s.again, rest[lines[i-1]-lines[0]:lines[i]-lines[0]])
			}
			s.line -= int64(len(lines) - 1)
			s.raw, s.size = s.raw[:lines[0]], int64(lines[0])
			return nil
		}
	}
	return nil
}

// finish takes the line end off the row and cuts it into its fields.
func (s *fieldScanner) finish() {
	if n := len(s.raw); int64(n) == s.size {
		s.raw = bytes.TrimSuffix(bytes.TrimSuffix(s.raw, []byte{s.end}), []byte("\r"))
		s.size = int64(len(s.raw))
	}
	m := &s.machine
	if m.after > 0 && s.fault == "" {
		s.fault = fmt.Sprintf("text follows the closing quotation mark of field %d", m.after)
	}
	switch {
	case s.fault != "" || m.forget || s.size > int64(s.max):
	case m.quiet && s.comma < utf8.RuneSelf:
		row := s.raw
		for i := bytes.IndexByte(row, byte(s.comma)); i >= 0; i = bytes.IndexByte(row, byte(s.comma)) {
			s.fields = append(s.fields, row[:i])
			row = row[i+1:]
		}
		s.fields = append(s.fields, row)
	case m.quiet:
		s.fields = append(s.fields, bytes.Split(s.raw, []byte(string(s.comma)))...)
	default:
		from := 0
		for _, to := range append(m.ends, len(s.joined)) {
			s.fields = append(s.fields, s.joined[from:to])
			from = to
		}
	}
}

// The states between two bytes of a row.
const (
	fieldStart = iota
	inField
	inQuotes
	quoteInQuotes
)

// quoteMachine takes the quotation marks out of a row.
type quoteMachine struct {
	comma  rune
	state  int
	ends   []int // where the fields end in what it wrote, but the last
	after  int   // the number of the first field in which text follows a closing mark, from 1; 0 none
	quiet  bool  // no mark so far, nothing was written
	forget bool  // the row is too large: only its end is looked for
}

// run appends the content of the fields in a line to out.
func (m *quoteMachine) run(line, out []byte) []byte {
	var comma [utf8.UTFMax]byte
	n := utf8.EncodeRune(comma[:], m.comma)
	for len(line) > 0 {
		c := line[0]
		if m.state == inQuotes {
			i := bytes.IndexByte(line, '"')
			if i < 0 {
				i = len(line)
			} else {
				m.state = quoteInQuotes
			}
			if !m.forget {
				out = append(out, line[:i]...)
			}
			line = line[min(i+1, len(line)):]
			continue
		}
		switch {
		case c == '"' && m.state == fieldStart:
			m.state = inQuotes
		case c == '"' && m.state == quoteInQuotes:
			m.state = inQuotes
			if !m.forget {
				out = append(out, '"')
			}
		case c == comma[0] && bytes.HasPrefix(line, comma[:n]):
			m.state = fieldStart
			if !m.forget {
				m.ends = append(m.ends, len(out))
			}
			line = line[n-1:]
		case (c == '\n' || c == '\r') && len(line) == 1, c == '\r' && len(line) == 2 && line[1] == '\n': // the end
		default:
			if m.state == quoteInQuotes && m.after == 0 {
				m.after = len(m.ends) + 1
			}
			m.state = inField
			if !m.forget {
				out = append(out, c)
			}
		}
		line = line[1:]
	}
	return out
}
