package ingest

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/transforms/bundle"
)

func init() {
	beam.RegisterDoFn(&planFn{})
	beam.RegisterDoFn(&countFn{})
	beam.RegisterDoFn(&placeFn{})
	beam.RegisterType(reflect.TypeFor[Block]())
	register.Emitter1[Block]()
	register.Emitter2[string, Block]()
	register.Iter1[Block]()
}

// Block is a reference to a part of an input file: a [File] and a [datasets.Block] of it, whose fields are side by side for the sake of
// coders of rows.
type Block struct {
	Ordinal, Rank, Part  int
	Path, Source         string
	Language, Translated string // File.From and File.To

	Number               int64
	Format, Rows         string
	Zstd, Marked, Inside bool
	From, To             int64
	Size, First          int64

	// What was counted in it, a datasets.Lines.
	Breaks                int64
	Filled, Ends, Damaged bool
}

func blockOf(f File, b datasets.Block) Block {
	return Block{Ordinal: f.Ordinal, Rank: f.Rank, Part: f.Part, Path: f.Path, Source: f.Source, Language: f.From, Translated: f.To,
		Number: b.Number, Format: b.Format, Rows: b.Rows, Zstd: b.Zstd, Marked: b.Marked, Inside: b.Inside, From: b.From, To: b.To,
		Size: b.Size, First: b.First}
}

func (b *Block) file() File {
	return File{Ordinal: b.Ordinal, Rank: b.Rank, Part: b.Part, Path: b.Path, Source: b.Source, From: b.Language, To: b.Translated}
}

func (b *Block) part() datasets.Block {
	return datasets.Block{Number: b.Number, Format: b.Format, Rows: b.Rows, Zstd: b.Zstd, Marked: b.Marked, Inside: b.Inside, From: b.From,
		To: b.To, Size: b.Size, First: b.First}
}

// whole says whether the block is a whole file.
func (b *Block) whole() bool { return b.Format == "" }

// key is that of the block's file.
func (b *Block) key() string { return fmt.Sprintf("%d %s\n%s", b.Ordinal, b.Source, b.Path) }

// blocks cuts files (PCollection<File>), read by the options o, into blocks of about size bytes (0 for datasets.BlockBytes), which know the
// index of their first record (PCollection<Block>) and are spread so that they are read in parallel. Elements go on at once where stream
// is set, in their windows; else those of a bundle are worked on together and go on when it ends.
func blocks(s beam.Scope, o datasets.Options, size int64, stream bool, files beam.PCollection) beam.PCollection {
	s = s.Scope("ingest.Blocks")
	planned := beam.ParDo(s, &planFn{Options: o, Bytes: cmp.Or(size, datasets.BlockBytes), Stream: stream}, beam.Reshuffle(s, files))
	counted := beam.ParDo(s, &countFn{Stream: stream}, beam.Reshuffle(s, planned))
	return beam.Reshuffle(s, beam.ParDo(s, &placeFn{}, beam.GroupByKey(s, counted)))
}

// planFn cuts a file.
type planFn struct {
	Options datasets.Options
	Bytes   int64
	Stream  bool

	work bundle.Workers[[]Block]
}

// StartBundle begins with no file.
func (f *planFn) StartBundle(context.Context, func(Block)) { f.work.Start() }

// ProcessElement looks at one file.
func (f *planFn) ProcessElement(ctx context.Context, in File, emit func(Block)) error {
	work := func() (all []Block, err error) {
		if err = datasets.EachBlock(in.Path, in.options(f.Options), f.Bytes, func(b datasets.Block) error {
			all = append(all, blockOf(in, b))
			return ctx.Err()
		}); err != nil {
			return nil, fmt.Errorf("reading %s: %w", in.Path, err)
		}
		return all, nil
	}
	if !f.Stream {
		return f.work.Go(ctx, work)
	}
	all, err := work()
	for _, b := range all {
		emit(b)
	}
	return err
}

// FinishBundle emits the blocks.
func (f *planFn) FinishBundle(_ context.Context, emit func(Block)) error {
	files, err := f.work.Wait()
	for _, all := range files {
		for _, b := range all {
			emit(b)
		}
	}
	return err
}

// countFn counts the lines of a block, where the index of its first record follows from those before it.
type countFn struct {
	Stream bool

	work bundle.Workers[Block]
}

// StartBundle begins with no block.
func (f *countFn) StartBundle(context.Context, func(string, Block)) { f.work.Start() }

// ProcessElement counts one block and emits it by its file.
func (f *countFn) ProcessElement(ctx context.Context, in Block, emit func(string, Block)) error {
	work := func() (Block, error) {
		part := in.part()
		if !part.Counted() {
			return in, nil
		}
		n, err := datasets.CountLines(in.Path, part)
		if err != nil {
			return in, fmt.Errorf("reading %s: %w", in.Path, err)
		}
		in.Breaks, in.Filled, in.Ends, in.Damaged = n.Breaks, n.Filled, n.Ends, n.Damaged
		return in, nil
	}
	if !f.Stream {
		return f.work.Go(ctx, work)
	}
	out, err := work()
	if err == nil {
		emit(out.key(), out)
	}
	return err
}

// FinishBundle emits the blocks.
func (f *countFn) FinishBundle(_ context.Context, emit func(string, Block)) error {
	all, err := f.work.Wait()
	for _, b := range all {
		emit(b.key(), b)
	}
	return err
}

// placeFn numbers the records of the blocks of a file.
type placeFn struct{}

// ProcessElement emits the blocks that are to be read.
func (*placeFn) ProcessElement(_ string, in func(*Block) bool, emit func(Block)) {
	var all []Block
	for b := (Block{}); in(&b); {
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b Block) int { return cmp.Compare(a.Number, b.Number) })
	var places datasets.Places
	kept := true
	for i := range all {
		b := &all[i]
		part := b.part()
		if i > 0 && b.Number == all[i-1].Number { // of a file that is there twice
			b.First, b.Inside = all[i-1].First, all[i-1].Inside
		} else if part.Counted() {
			kept = places.Place(&part, datasets.Lines{Breaks: b.Breaks, Filled: b.Filled, Ends: b.Ends, Damaged: b.Damaged})
			b.First, b.Inside = part.First, part.Inside
		}
		if kept {
			emit(*b)
		}
	}
}
