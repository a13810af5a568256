package datasets

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Print identifies a document by its text as it was read, whatever file and format it came in: two hashes of 64 bits of its words. White
// space between them does not count.
type Print [16]byte

// PrintOf is the print of a text.
func PrintOf(text string) (p Print) {
	a, b := xxhash.New(), xxhash.NewWithSeed(0x9e3779b97f4a7c15)
	for w := range strings.FieldsSeq(text) {
		for _, d := range []*xxhash.Digest{a, b} {
			_, _ = d.WriteString(w)
			_, _ = d.Write([]byte{' '})
		}
	}
	binary.BigEndian.PutUint64(p[:], a.Sum64())
	binary.BigEndian.PutUint64(p[8:], b.Sum64())
	return p
}

// SourcePrints are the prints of a source's documents: of those that are trained on, or of a set that is measured on, and of those held out
// of it.
type SourcePrints struct {
	Source     string `json:"source"`
	Train      int    `json:"train"`
	Validation int    `json:"validation"`
}

// printsMagic begins a file of prints: a line of JSON follows, []SourcePrints, then the prints to train on in the order of the sources,
// then those held out.
const printsMagic = "adaptflow prints 1\n"

// WritePrints writes a file of prints. each is called with the number of a source, twice in turn for each: held false and true.
func WritePrints(path string, sources []SourcePrints, each func(source int, held bool) ([]Print, error)) error {
	f, err := storage.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	w := bufio.NewWriterSize(f, 1<<16)
	head, err := json.Marshal(sources)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s%s\n", printsMagic, head)
	for _, held := range []bool{false, true} {
		for i := range sources {
			ps, err := each(i, held)
			if err != nil {
				return err
			}
			for k := range ps {
				_, _ = w.Write(ps[k][:]) // the error stays with w
			}
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Commit()
}

// printsFile is an open file of prints.
type printsFile struct {
	path    string
	r       *bufio.Reader
	c       io.Closer
	sources []SourcePrints
}

func openPrints(path string) (_ *printsFile, err error) {
	f, err := storage.OpenReaderAt(path)
	if err != nil {
		return nil, err
	}
	p := &printsFile{path: path, r: bufio.NewReaderSize(io.NewSectionReader(f, 0, f.Size()), 1<<16), c: f}
	defer func() {
		if err != nil {
			f.Close()
			err = fmt.Errorf("%s: %w: delete it to do without", path, err)
		}
	}()
	magic, err := p.r.ReadBytes('\n')
	if err == nil && string(magic) != printsMagic {
		err = errors.New("it is not a file of prints of this version")
	}
	if err != nil {
		return nil, err
	}
	head, err := p.r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	return p, json.NewDecoder(bytes.NewReader(head)).Decode(&p.sources)
}

// each calls f with the prints of one kind, which must be asked for in the order of the file.
func (p *printsFile) each(held bool, f func(source int, x Print)) error {
	var x Print
	for i, s := range p.sources {
		n := s.Train
		if held {
			n = s.Validation
		}
		for range n {
			if _, err := io.ReadFull(p.r, x[:]); err != nil {
				return fmt.Errorf("%s: %w", p.path, err)
			}
			f(i, x)
		}
	}
	return nil
}

// Shared is how many documents of one file are in others too.
type Shared struct {
	Source    string   `json:"source"`
	Documents int      `json:"documents"` // of the source, that are in the others
	Of        int      `json:"of"`
	In        []string `json:"in"` // the files that they are in
}

// CompareTraining finds the documents of a set in the documents that are trained on: those of the file of prints set, or where that is ""
// those held out of the training input itself. Memory is that of the set's prints. nil means no overlap.
func CompareTraining(train, set string) ([]Shared, error) {
	t, err := openPrints(train)
	if err != nil {
		return nil, err
	}
	defer t.c.Close()
	in := map[Print]map[int]bool{} // of the set: the training files that have it
	type doc struct {
		source int
		print  Print
	}
	var docs []doc
	note := func(source int, x Print) {
		in[x] = nil
		docs = append(docs, doc{source, x})
	}
	sources, same := t.sources, t
	if set == "" { // the file has them last: it is read once for them
		if same, err = openPrints(train); err != nil {
			return nil, err
		}
		defer same.c.Close()
		if err := same.each(false, func(int, Print) {}); err != nil {
			return nil, err
		}
		err = same.each(true, note)
	} else {
		if same, err = openPrints(set); err != nil {
			return nil, err
		}
		defer same.c.Close()
		sources = same.sources
		err = same.each(false, note)
	}
	if err != nil || len(docs) == 0 {
		return nil, err
	}
	if err := t.each(false, func(source int, x Print) {
		files, ok := in[x]
		if !ok {
			return
		}
		if files == nil {
			files = map[int]bool{}
			in[x] = files
		}
		files[source] = true
	}); err != nil {
		return nil, err
	}
	out := make([]Shared, len(sources))
	files := make([]map[int]bool, len(sources))
	for _, d := range docs {
		s := &out[d.source]
		s.Of++
		if len(in[d.print]) == 0 {
			continue
		}
		s.Documents++
		if files[d.source] == nil {
			files[d.source] = map[int]bool{}
		}
		for f := range in[d.print] {
			files[d.source][f] = true
		}
	}
	for i := range out {
		out[i].Source = sources[i].Source
		for f := range files[i] {
			out[i].In = append(out[i].In, t.sources[f].Source)
		}
		slices.Sort(out[i].In)
	}
	out = slices.DeleteFunc(out, func(s Shared) bool { return s.Documents == 0 })
	slices.SortFunc(out, func(a, b Shared) int { return cmp.Compare(a.Source, b.Source) })
	return out, nil
}
