package storage

import (
	"bytes"
	"fmt"
)

// unmarked takes the byte order mark of UTF-8 off a file's text, which editors of Windows write and neither JSON nor YAML has. One of
// another encoding is an error.
func unmarked(path string, text []byte) ([]byte, error) {
	for _, m := range []struct{ mark, encoding string }{{"\xff\xfe\x00\x00", "UTF-32"}, {"\x00\x00\xfe\xff", "UTF-32"},
		{"\xff\xfe", "UTF-16"}, {"\xfe\xff", "UTF-16"}} {
		if bytes.HasPrefix(text, []byte(m.mark)) {
			return nil, fmt.Errorf("%s: it is written in %s; save it in UTF-8", path, m.encoding)
		}
	}
	return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), nil
}
