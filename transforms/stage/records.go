package stage

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/meter"
)

func init() {
	beam.RegisterDoFn(&placeFn{})
	beam.RegisterDoFn(&writeFn{})
	beam.RegisterDoFn(&readFn{})
	beam.RegisterType(reflect.TypeFor[Group]())
	register.Emitter1[Group]()
	register.Emitter2[int, ingest.Record]()
	register.Iter1[ingest.Record]()
}

// Group is a reference to staged records, which is what travels between the stages of a pipeline. It says nothing of the bundles, workers
// or order that the records came in.
type Group struct {
	Path    string `beam:"path"` // the staged file, named by Hash
	Hash    string `beam:"hash"` // of the records, 128 bits in hexadecimal digits
	Records int64  `beam:"records"`
	Bytes   int64  `beam:"bytes"` // of the records' texts and fields
	// First and Last are the hashes of the ids of the first and the last record, which lie in their order: 128 bits, hexadecimal.
	First string `beam:"first"`
	Last  string `beam:"last"`
}

// Settings say where and how [Write] stages records.
type Settings struct {
	// Dir is the folder or URI that the files of groups are written to.
	Dir string
	// Parts is how many parts records are cut into by the hash of their ids, 0 for 256. A worker holds one part of a window at a time.
	Parts int
	// Bytes is what a group has at most, 0 for 32 MiB. A record that is larger is a group of its own; records of equal ids are in one.
	Bytes int64
}

const (
	defaultParts      = 256
	defaultGroupBytes = 32 << 20
)

// Write stages records (PCollection<ingest.Record>) in files of at most set.Bytes and returns references to them (PCollection<Group>). The
// groups, and the names and bytes of their files, are those of the set of records in a window and of the settings: what is cut by the
// hashes of ids lies in their order. Files of a work that is done again are written over with equal bytes. It panics without a folder.
func Write(s beam.Scope, set Settings, records beam.PCollection) beam.PCollection {
	if set.Dir == "" || set.Parts < 0 || set.Bytes < 0 {
		panic(fmt.Errorf("stage.Write: %+v: a folder is wanted, and no number below 0", set))
	}
	s = s.Scope("stage.Write")
	parts := cmp.Or(set.Parts, defaultParts)
	placed := beam.GroupByKey(s, beam.ParDo(s, &placeFn{Parts: parts}, records))
	return beam.ParDo(s, &writeFn{Dir: set.Dir, Bytes: cmp.Or(set.Bytes, defaultGroupBytes)}, placed)
}

// Read reads staged records: groups is a PCollection<Group>, and what is returned the PCollection<ingest.Record> that [Write] was given, in
// the same windows. A file whose records are not those that were written is an error.
func Read(s beam.Scope, groups beam.PCollection) beam.PCollection {
	s = s.Scope("stage.Read")
	return beam.ParDo(s, &readFn{}, beam.Reshuffle(s, groups))
}

// IDHash is the hash of a record's id, that records are ordered and cut by.
func IDHash(r *ingest.Record) [16]byte {
	sum := sha256.Sum256([]byte(datasets.DocID(r.Source, r.Index)))
	return [16]byte(sum[:16])
}

// fields are a record's texts, each in its place.
func fields(r *ingest.Record) [7]string {
	return [...]string{r.Source, r.Text, r.Key, r.Row, r.Label, r.URL, r.Print}
}

// size is what a record counts for the bytes of a group.
func size(r *ingest.Record) int64 {
	n := int64(8)
	for _, s := range fields(r) {
		n += int64(len(s))
	}
	return n
}

// contentHash names a group.
func contentHash(all []ingest.Record) string {
	h := sha256.New()
	h.Write([]byte("adaptflow records 1\n"))
	var head []byte
	for i := range all {
		head = binary.AppendVarint(head[:0], all[i].Index)
		h.Write(head)
		for _, s := range fields(&all[i]) {
			head = binary.AppendUvarint(head[:0], uint64(len(s)))
			h.Write(head)
			h.Write([]byte(s))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// placeFn finds the part of a record.
type placeFn struct{ Parts int }

// ProcessElement emits the record by its part.
func (f *placeFn) ProcessElement(e ingest.Record, emit func(int, ingest.Record)) {
	e = e.Identified()
	h := IDHash(&e)
	emit(int(uint64(binary.BigEndian.Uint32(h[:]))*uint64(f.Parts)>>32), e)
}

// writeFn stages the records of a part.
type writeFn struct {
	Dir   string
	Bytes int64
}

// ProcessElement emits the groups of the part.
func (f *writeFn) ProcessElement(ctx context.Context, _ int, records func(*ingest.Record) bool, emit func(Group)) error {
	type placed struct {
		hash [16]byte
		ingest.Record
	}
	var all []placed
	for e := (ingest.Record{}); records(&e); {
		all = append(all, placed{IDHash(&e), e})
	}
	slices.SortFunc(all, func(a, b placed) int { // equal ids are equal records; where they are not, the result is the same all the same
		x, y := fields(&a.Record), fields(&b.Record)
		return cmp.Or(bytes.Compare(a.hash[:], b.hash[:]), cmp.Compare(a.Index, b.Index), slices.Compare(x[:], y[:]))
	})
	for len(all) > 0 {
		n, held := 0, int64(0)
		for ; n < len(all) && (n == 0 || held+size(&all[n].Record) <= f.Bytes || all[n].hash == all[n-1].hash); n++ {
			held += size(&all[n].Record)
		}
		rows := make([]ingest.Record, n)
		for i := range n {
			rows[i] = all[i].Record
		}
		g, err := WriteGroup(f.Dir, rows)
		if err != nil {
			return err
		}
		meter.Add(ctx, meter.DocumentsOut, g.Records)
		meter.Add(ctx, meter.BytesOut, g.Bytes)
		emit(g)
		all = all[n:]
	}
	return nil
}

// WriteGroup stages records, which are in the order of [IDHash], in a file of the folder dir; without any it writes none and returns the
// zero Group.
func WriteGroup(dir string, rows []ingest.Record) (g Group, err error) {
	if len(rows) == 0 {
		return g, nil
	}
	staged := make([]datasets.Record, len(rows))
	for i := range rows {
		staged[i] = rows[i].Dataset()
		g.Bytes += size(&rows[i])
	}
	first, last := IDHash(&rows[0]), IDHash(&rows[len(rows)-1])
	g.Hash, g.Records = contentHash(rows), int64(len(rows))
	g.First, g.Last = hex.EncodeToString(first[:]), hex.EncodeToString(last[:])
	g.Path = storage.Join(dir, g.Hash+".parquet")
	if err := datasets.WriteRecordFile(g.Path, staged); err != nil {
		return g, fmt.Errorf("staging records: %w", err)
	}
	return g, nil
}

// ReadGroup reads the records of a group. Records that are not those that were written are an error.
func ReadGroup(g Group) ([]ingest.Record, error) {
	staged, err := datasets.ReadRecordFile(g.Path)
	if err != nil {
		return nil, fmt.Errorf("reading staged records: %w", err)
	}
	rows := make([]ingest.Record, len(staged))
	for i := range staged {
		rows[i] = ingest.RecordOf(&staged[i])
	}
	if contentHash(rows) != g.Hash {
		return nil, fmt.Errorf("%s does not hold the %d records that were written to it: delete it, and run the stage that writes it again",
			g.Path, g.Records)
	}
	return rows, nil
}

// readFn reads groups.
type readFn struct{}

// ProcessElement emits the records of a group.
func (*readFn) ProcessElement(ctx context.Context, g Group, emit func(ingest.Record)) error {
	rows, err := ReadGroup(g)
	if err != nil {
		return err
	}
	meter.Add(ctx, meter.DocumentsIn, g.Records)
	for _, r := range rows {
		emit(r)
	}
	return nil
}
