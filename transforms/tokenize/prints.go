package tokenize

import (
	"encoding/binary"
	"fmt"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// PrintsPath is the file, in the folder dir, of what identifies the documents of a group: see [EachPrint].
func PrintsPath(dir, name string) string { return storage.Join(dir, name+".prints") }

// printBytes is the size of a document's print and its datasets.PurposeValidation hash.
const printBytes = 16 + 8

func appendPrint(b []byte, r *datasets.Record, split uint64) []byte {
	p := r.Print
	return binary.BigEndian.AppendUint64(append(b, p[:]...), split)
}

// EachPrint calls f with the print and the datasets.PurposeValidation hash of each document in the content of such a file.
func EachPrint(path string, raw []byte, f func(p datasets.Print, split uint64)) error {
	if len(raw)%printBytes != 0 {
		return fmt.Errorf("%s: %d bytes are not a whole number of prints: it was changed while this ran", path, len(raw))
	}
	for at := 0; at < len(raw); at += printBytes {
		f(datasets.Print(raw[at:at+16]), binary.BigEndian.Uint64(raw[at+16:]))
	}
	return nil
}
