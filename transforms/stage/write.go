package stage

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"iter"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets/parts"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/bundle"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/meter"
	"github.com/adaptflow/adaptflow/transforms/partition"
)

func init() {
	beam.RegisterDoFn(&holdFn{})
	beam.RegisterDoFn(&rangeFn{})
	beam.RegisterDoFn(&partFn{})
	beam.RegisterDoFn(&windowFn{})
	register.Emitter1[parts.Slice]()
	register.Emitter2[int, ingest.Record]()
	register.Iter1[parts.Slice]()
	register.Iter1[ingest.Record]()
}

const (
	defaultWindowParts = 16
	defaultGroupBytes  = 32 << 20
	// heldBytes is what an instance of holdFn holds before it writes a file.
	heldBytes = 32 << 20
)

// Write stages records (PCollection<ingest.Record>) in files of at most set.Bytes and returns references to them (PCollection<Group>). The
// groups, and the names and bytes of their files, are those of the set of records in a window and of the settings: what is cut by the
// hashes of ids lies in their order. Files of a work that is done again are written over with equal bytes. It panics without a folder.
//
// Records of the global window are written to files where they are, by the bundle, and brought together by transforms/partition: nothing
// but references is shuffled, whatever their number. The end of a bundle is of no window of its own, so that records that are in windows
// pass through a GroupByKey, which holds one part of a window at a time.
func Write(s beam.Scope, set Settings, records beam.PCollection) beam.PCollection {
	if set.Dir == "" || set.PartBytes < 0 || set.Parts < 0 || set.Bytes < 0 {
		panic(fmt.Errorf("stage.Write: %+v: a folder is wanted, and no number below 0", set))
	}
	s = s.Scope("stage.Write")
	set.Bytes = cmp.Or(set.Bytes, defaultGroupBytes)
	if records.WindowingStrategy().Fn.Kind != window.GlobalWindows {
		parts := beam.ParDo(s, &partFn{Parts: cmp.Or(set.Parts, defaultWindowParts)}, records)
		return beam.ParDo(s, &windowFn{Dir: set.Dir, Bytes: set.Bytes}, beam.GroupByKey(s, parts))
	}
	dir := storage.Join(set.Dir, "parts")
	held := beam.ParDo(s, &holdFn{Dir: dir}, records)
	ranges := partition.Split(s, partition.Settings{Dir: dir, Name: "ids", PartBytes: set.PartBytes}, beam.Reshuffle(s, held))
	return beam.ParDo(s, &rangeFn{Dir: set.Dir, Bytes: set.Bytes}, beam.GroupByKey(s, ranges))
}

// placeBytes are those of a hash that are a record's place; the others stand before what the record holds.
const placeBytes = 8

// addRecord adds a record at the place that its id's hash says. line is used again.
func addRecord(set *parts.Set, line []byte, e *ingest.Record) []byte {
	h := IDHash(e)
	line = append(line[:0], h[placeBytes:]...)
	line = binary.AppendVarint(line, e.Index)
	for _, text := range fields(e) {
		line = binary.AppendUvarint(line, uint64(len(text)))
		line = append(line, text...)
	}
	set.Add(binary.BigEndian.Uint64(h[:placeBytes]), line)
	return line
}

// readRecord reads what addRecord added.
func readRecord(b []byte) (hash [16 - placeBytes]byte, r ingest.Record, err error) {
	wrong := fmt.Errorf("a staged record of %d bytes is not whole: run the stage that writes it again", len(b))
	if len(b) < len(hash) {
		return hash, r, wrong
	}
	b = b[copy(hash[:], b):]
	n := 0
	if r.Index, n = binary.Varint(b); n <= 0 {
		return hash, r, wrong
	}
	b = b[n:]
	for _, to := range []*string{&r.Source, &r.Text, &r.Key, &r.Row, &r.Label, &r.URL, &r.Print} {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return hash, r, wrong
		}
		*to, b = string(b[n:n+int(size)]), b[n+int(size):]
	}
	if len(b) > 0 {
		return hash, r, wrong
	}
	return hash, r, nil
}

// writeGroups stages records, which come in the order of the hashes of their ids, in groups of so many bytes.
func writeGroups(dir string, most int64, all iter.Seq2[uint64, []byte]) (out []Group, err error) {
	var rows []ingest.Record
	held := int64(0)
	flush := func() error {
		g, err := WriteGroup(dir, rows)
		if err == nil && g.Records > 0 {
			out = append(out, g)
		}
		rows, held = nil, 0
		return err
	}
	type id struct {
		place uint64
		rest  [16 - placeBytes]byte
	}
	var last id
	for place, b := range all {
		rest, r, err := readRecord(b)
		if err != nil {
			return nil, err
		}
		if at := (id{place, rest}); len(rows) > 0 && held+size(&r) > most && at != last {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		rows, held, last = append(rows, r), held+size(&r), id{place, rest}
	}
	return out, flush()
}

// emitGroups counts what was written and emits references to it.
func emitGroups(ctx context.Context, groups []Group, emit func(Group)) {
	for _, g := range groups {
		meter.Add(ctx, meter.DocumentsOut, g.Records)
		meter.Add(ctx, meter.BytesOut, g.Bytes)
		emit(g)
	}
}

// holdFn writes the records of a bundle to files, each named by what it holds: which records lie in one file changes no group.
type holdFn struct {
	Dir string

	set  *parts.Set
	line []byte
	held int64
}

// StartBundle begins with no record.
func (f *holdFn) StartBundle(context.Context, func(parts.Slice)) { f.set, f.held = parts.NewSet(0), 0 }

// ProcessElement takes one record.
func (f *holdFn) ProcessElement(_ context.Context, e ingest.Record, emit func(parts.Slice)) error {
	e = e.Identified()
	f.line = addRecord(f.set, f.line, &e)
	if f.held += int64(len(f.line)) + 16; f.held < heldBytes {
		return nil
	}
	return f.flush(emit)
}

// FinishBundle writes what is left, and gives its memory back.
func (f *holdFn) FinishBundle(_ context.Context, emit func(parts.Slice)) error {
	defer func() { f.set, f.line = nil, nil }()
	return f.flush(emit)
}

func (f *holdFn) flush(emit func(parts.Slice)) error {
	if f.set.Len() == 0 {
		return nil
	}
	f.set.Sort(false)
	h := sha256.New()
	var head []byte
	for place, b := range f.set.All() {
		head = binary.AppendUvarint(binary.BigEndian.AppendUint64(head[:0], place), uint64(len(b)))
		h.Write(head)
		h.Write(b)
	}
	path := storage.Join(f.Dir, "records-"+hex.EncodeToString(h.Sum(nil)[:16])+".parts")
	_, whole, err := f.set.Write(path, parts.Root, false)
	if err != nil {
		return fmt.Errorf("staging records: %w", err)
	}
	f.set.Reset()
	f.held = 0
	emit(whole)
	return nil
}

// rangeFn stages the records of a range of ids.
type rangeFn struct {
	Dir   string
	Bytes int64

	work bundle.Workers[[]Group]
}

// StartBundle begins with no range.
func (f *rangeFn) StartBundle(context.Context, func(Group)) { f.work.Start() }

// ProcessElement begins to stage a range.
func (f *rangeFn) ProcessElement(ctx context.Context, _ int64, in func(*parts.Slice) bool, _ func(Group)) error {
	var all []parts.Slice
	bytes := int64(0)
	for s := (parts.Slice{}); in(&s); s = (parts.Slice{}) {
		all, bytes = append(all, s), bytes+s.Bytes
	}
	return f.work.Go(ctx, func() ([]Group, error) {
		release, err := partition.Hold(ctx, bytes+f.Bytes) // with the records of a group
		if err != nil {
			return nil, err
		}
		defer release()
		lists, err := parts.ReadAll(all)
		if err != nil {
			return nil, err
		}
		return writeGroups(f.Dir, f.Bytes, parts.Merge(lists...))
	})
}

// FinishBundle emits the groups.
func (f *rangeFn) FinishBundle(ctx context.Context, emit func(Group)) error {
	return f.work.Emit(func(groups []Group) { emitGroups(ctx, groups, emit) })
}

// partFn finds the part of a record that is in a window.
type partFn struct{ Parts int }

// ProcessElement emits the record by its part.
func (f *partFn) ProcessElement(e ingest.Record, emit func(int, ingest.Record)) {
	e = e.Identified()
	h := IDHash(&e)
	emit(int(uint64(binary.BigEndian.Uint32(h[:]))*uint64(f.Parts)>>32), e)
}

// windowFn stages the records of a part of a window.
type windowFn struct {
	Dir   string
	Bytes int64
}

// ProcessElement emits the groups of the part.
func (f *windowFn) ProcessElement(ctx context.Context, _ int, records func(*ingest.Record) bool, emit func(Group)) error {
	set, line := parts.NewSet(0), []byte(nil)
	for e := (ingest.Record{}); records(&e); {
		line = addRecord(set, line, &e)
	}
	set.Sort(false)
	groups, err := writeGroups(f.Dir, f.Bytes, set.All())
	emitGroups(ctx, groups, emit)
	return err
}
