package stage

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/meter"
)

func init() {
	beam.RegisterDoFn(&readFn{})
	beam.RegisterType(reflect.TypeFor[Group]())
	register.Emitter1[Group]()
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
	// PartBytes is what a range of ids has at most that a worker reads at a time, in bytes of records, 0 for 256 MiB.
	PartBytes int64
	// Parts is how many parts the records of a window of their own are cut into by the hash of their ids, 0 for 16. A worker holds one at
	// a time.
	Parts int
	// Bytes is what a group has at most, 0 for 32 MiB. A record that is larger is a group of its own; records of equal ids are in one.
	Bytes int64
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
