package ingest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
)

func init() {
	beam.RegisterType(reflect.TypeFor[Record]())
	beam.RegisterType(reflect.TypeFor[datasets.Reject]())
	register.Emitter1[Record]()
	register.Emitter1[datasets.Reject]()
}

// Record is a [datasets.Record] as an element: what the transforms called Records take and give. It is a row with a schema of strings and
// one number, which every SDK and runner can read. A program makes records of its own data by filling in Text, or Row.
type Record struct {
	// Source and Index are the record's id, see [datasets.DocID]; records of equal ids are equal. One whose Source is "" has no id and gets
	// the 128-bit hash of its content as its Source: see [Record.Identified].
	Source string `beam:"source"`
	Index  int64  `beam:"index"`
	Text   string `beam:"text"`
	Key    string `beam:"key"`   // of training by key, "" for none
	Row    string `beam:"row"`   // JSON of a [datasets.Row], "" for a plain text; Text is then all its texts, one after another
	Label  string `beam:"label"` // the name of the class of a row that has one
	URL    string `beam:"url"`   // where the document comes from, "" when unknown
	Print  string `beam:"print"` // a [datasets.Print] of the text as it was read, 32 hexadecimal digits; "" before the first transform
}

// RecordOf is a record as an element.
func RecordOf(r *datasets.Record) Record {
	e := Record{Source: r.Source, Index: r.Index, Text: r.Text, Key: r.Key, Row: r.Row, Label: r.Label, URL: r.URL}
	if r.Print != (datasets.Print{}) {
		e.Print = hex.EncodeToString(r.Print[:])
	}
	return e
}

// Identified is the record with an id and a print, made of its content where it had none: each transform's first step, so that what a
// rule makes of a text changes neither.
func (r Record) Identified() Record {
	if r.Source == "" {
		h := sha256.New()
		h.Write([]byte("adaptflow record 1\n"))
		for _, s := range []string{r.Text, r.Key, r.Row, r.Label, r.URL} {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
			h.Write([]byte(s))
		}
		r.Source = hex.EncodeToString(h.Sum(nil)[:16])
	}
	p := r.print()
	if p == (datasets.Print{}) {
		p = datasets.PrintOf(r.Text)
	}
	r.Print = hex.EncodeToString(p[:])
	return r
}

// Dataset is the element as a record. A Print that is none is left out.
func (r Record) Dataset() datasets.Record {
	return datasets.Record{Source: r.Source, Index: r.Index, Text: r.Text, Key: r.Key, Row: r.Row, Label: r.Label, URL: r.URL,
		Print: r.print()}
}

// print is what Print says, zero where it says none.
func (r *Record) print() (p datasets.Print) {
	if b, err := hex.DecodeString(r.Print); err == nil && len(b) == len(p) {
		copy(p[:], b)
	}
	return p
}
