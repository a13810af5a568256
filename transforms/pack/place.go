package pack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/datasets/parts"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/bundle"
)

func init() { beam.RegisterDoFn(&placeFn{}) }

// shards is how many there are, of training and of validation.
func (p *Plan) shards() int { return p.Train + p.Validation }

// bits is how many of the first bits of a document's place are its shard's alone, a multiple of 8: ranges that are cut by them cut no
// shard.
func (p *Plan) bits() int { return max(8, (bits.Len(uint(p.shards()-1))+7)/8*8) }

// place is where a document of a shard lies: shards are spread over all places in their order, and the documents of one by their hash.
func (p *Plan) place(shard int, hash uint64) uint64 {
	return placeBy(p.bits(), p.shards(), shard, hash)
}

// placeBy is the place of a document of one of so many shards by n bits.
func placeBy(n, shards, shard int, hash uint64) uint64 {
	hi, lo := bits.Mul64(uint64(shard), 1<<n)
	at, _ := bits.Div64(hi, lo, uint64(shards))
	return at<<(64-n) | hash>>n
}

// shardBy is the shard of such a place.
func shardBy(n, shards int, place uint64) int {
	hi, lo := bits.Mul64(place>>(64-n), uint64(shards))
	shard := hi<<(64-n) | lo>>n
	if lo&(1<<n-1) != 0 {
		shard++
	}
	return int(shard)
}

// placedBytes is what is held of a file's documents before they are written: copies of documents may be many.
const placedBytes = 32 << 20

// orderBytes are those of a document's position in the corpus, which stand before it where shards have the order of files.
const orderBytes = 8 + 4 + 4 + 4

// placeFn writes staged documents again as records whose places are their shards', and emits references to what it wrote, a file or a few
// for each that it reads.
type placeFn struct {
	Plan                Plan
	FileOrder           bool
	RejectsDir, InfoDir string

	work bundle.Workers[*placed]
}

// placed is what was made of a file.
type placed struct {
	slices []parts.Slice
	sum    *Routed
}

// StartBundle begins with no file.
func (f *placeFn) StartBundle(context.Context, func(parts.Slice), func(string)) { f.work.Start() }

// ProcessElement begins to place the documents of one file.
func (f *placeFn) ProcessElement(ctx context.Context, in Staged, _ func(parts.Slice), _ func(string)) error {
	return f.work.Go(ctx, func() (*placed, error) {
		out, sum, err := f.place(in)
		return &placed{out, sum}, err
	})
}

// FinishBundle emits the references, and what quotas made of the files.
func (f *placeFn) FinishBundle(_ context.Context, emit func(parts.Slice), routed func(string)) error {
	files, err := f.work.Wait()
	var sum Routed
	for _, file := range files {
		for _, s := range file.slices {
			emit(s)
		}
		sum.Add(file.sum)
	}
	return errors.Join(err, sum.emit(routed))
}

func (f *placeFn) place(in Staged) (out []parts.Slice, sum *Routed, err error) {
	set := parts.NewSet(0)
	write := func() error {
		if set.Len() == 0 {
			return nil
		}
		path := storage.Join(f.InfoDir, fmt.Sprintf("documents-%s-%05d.parts", in.Name, len(out)))
		_, whole, err := set.Write(path, parts.Root, false)
		out = append(out, whole)
		set.Reset()
		return err
	}
	var line []byte
	sum, err = router{f.Plan, f.RejectsDir}.route(in, func(g int, uses []use) error {
		var rows []int32
		for _, u := range uses {
			if n := len(rows); n == 0 || rows[n-1] != u.row {
				rows = append(rows, u.row)
			}
		}
		docs, err := datasets.ReadDocs(in.Path, in.Source, g, rows)
		if err != nil {
			return err
		}
		at := 0
		for _, u := range uses {
			for rows[at] != u.row {
				at++
			}
			d := &docs[at]
			d.Hash, line = u.hash, line[:0]
			place := f.Plan.place(u.shard, u.hash)
			if f.FileOrder {
				place = f.Plan.place(u.shard, 0)
				line = binary.BigEndian.AppendUint64(line, uint64(in.Order))
				for _, n := range []uint32{uint32(g), uint32(u.copy), uint32(u.row)} {
					line = binary.BigEndian.AppendUint32(line, n)
				}
			}
			line = datasets.AppendDoc(line, d)
			set.Add(place, line)
			if set.Bytes() >= placedBytes {
				if err := write(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil {
		err = write()
	}
	return out, sum, err
}
