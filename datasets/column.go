package datasets

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// lists is a column of lists, flattened: row i is values[offsets[i]:offsets[i+1]].
type lists[T any] struct {
	values  []T
	offsets []int
}

func (l *lists[T]) rows() int { return len(l.offsets) - 1 }

// row is capped, so that appending to one row cannot reach the next.
func (l *lists[T]) row(i int) []T { return l.values[l.offsets[i]:l.offsets[i+1]:l.offsets[i+1]] }

// findLeaf resolves the leaf of a column by position: below the name, each level must be a group of one column, whatever its name, except
// the last, in which want selects ("" when it is the leaf itself).
func findLeaf(f *parquet.File, name, want string) (*parquet.Column, error) {
	c := f.Root().Column(name)
	if c == nil {
		return nil, fmt.Errorf("there is no column %q; the columns are %s", name, columnNames(f))
	}
	for !c.Leaf() {
		kids := c.Columns()
		if want != "" && c.Column(want) != nil && c.Column(want).Leaf() {
			c = c.Column(want)
			break
		}
		if len(kids) != 1 {
			return nil, fmt.Errorf("column %q is a struct where a list of plain values is wanted", name)
		}
		c = kids[0]
	}
	return c, nil
}

func columnNames(f *parquet.File) string {
	var out []string
	for _, c := range f.Root().Columns() {
		out = append(out, c.Name())
	}
	if len(out) == 0 {
		return "(none)"
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// guard turns a panic of the Parquet decoder on damaged bytes into an error.
func guard(err *error) {
	if r := recover(); r != nil {
		if e, ok := r.(error); ok {
			*err = fmt.Errorf("damaged file: %w", e)
		} else {
			*err = fmt.Errorf("damaged file: %v", r)
		}
	}
}

// rowRange are rows of a row group, from the first up to the one behind the last.
type rowRange struct{ from, to int64 }

func allRows(rg parquet.RowGroup) rowRange { return rowRange{0, rg.NumRows()} }

// eachPage calls do for the pages of a column in a row group that hold the rows, and maybe others behind them, until it returns io.EOF. Of
// a file with an index of its pages, which then begin with a row, those before are not read; indexed says that it has one.
func eachPage(rg parquet.RowGroup, c *parquet.Column, rows rowRange, do func(p parquet.Page, indexed bool) error) error {
	chunk := rg.ColumnChunks()[c.Index()]
	indexed := false
	if rows != allRows(rg) {
		_, err := chunk.OffsetIndex()
		if indexed = err == nil; err != nil && !errors.Is(err, parquet.ErrMissingOffsetIndex) {
			return err
		}
	}
	pages := chunk.Pages()
	defer pages.Close()
	if rows.from > 0 {
		if err := pages.SeekToRow(rows.from); err != nil {
			return err
		}
	}
	for {
		p, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		err = do(p, indexed)
		parquet.Release(p)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// eachValue calls do with the values of a page, which are read into buf.
func eachValue(p parquet.Page, buf []parquet.Value, do func(parquet.Value) error) error {
	for r := p.Values(); ; {
		k, err := r.ReadValues(buf)
		for _, v := range buf[:k] {
			if err := do(v); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case k == 0:
			return io.ErrNoProgress
		}
	}
}

// readLists reads rows of a list column of a row group. typed, when it can, returns a page's values directly; value converts one at a time.
// A list column has one level of repetition. A null list is empty; a null element is an error.
func readLists[T any](rg parquet.RowGroup, c *parquet.Column, rows rowRange, typed func(parquet.Page) ([]T, bool),
	value func(parquet.Value) (T, error)) (out lists[T], err error) {
	defer guard(&err)
	if c.MaxRepetitionLevel() != 1 {
		return out, fmt.Errorf("column %q has %d levels of lists, one is wanted", strings.Join(c.Path(), "."), c.MaxRepetitionLevel())
	}
	maxDef := c.MaxDefinitionLevel()
	// An element that is null has a definition level between the repeated group's and the leaf's.
	elemDef := maxDef
	if c.Optional() {
		elemDef--
	}
	all := rg.NumRows()
	if rows.from < 0 || rows.to > all || rows.from > rows.to {
		return out, fmt.Errorf("there are %d rows, those from %d to %d are wanted", all, rows.from, rows.to)
	}
	wanted := int(rows.to - rows.from)
	if wanted > 0 { // room for as many values as if all rows had the same number, and some
		out.values = make([]T, 0, min(rg.ColumnChunks()[c.Index()].NumValues()*int64(wanted)/all*9/8+64, 1<<20))
	}
	n := 0
	place := func(rep, def int) (bool, error) {
		if rep == 0 {
			out.offsets = append(out.offsets, n)
		} else if len(out.offsets) == 0 {
			return false, errors.New("damaged file: the first value continues a row")
		}
		if def == maxDef {
			n++
			return true, nil
		}
		if def >= elemDef {
			return false, fmt.Errorf("column %q: row %d has a null element", c.Path()[0], len(out.offsets)-1)
		}
		return false, nil
	}
	more := func(indexed bool) error {
		if len(out.offsets) > wanted || indexed && len(out.offsets) == wanted {
			return io.EOF
		}
		return nil
	}
	var buf [256]parquet.Value
	err = eachPage(rg, c, rows, func(p parquet.Page, indexed bool) error {
		if vals, ok := typed(p); ok {
			reps, defs := p.RepetitionLevels(), p.DefinitionLevels()
			if len(reps) != len(defs) {
				return fmt.Errorf("damaged file: %d repetition and %d definition levels", len(reps), len(defs))
			}
			before := n
			for i, rep := range reps {
				if int(defs[i]) == maxDef && len(out.offsets) > 0 { // nearly all: a value
					if rep == 0 {
						out.offsets = append(out.offsets, n)
					}
					n++
					continue
				}
				if _, err := place(int(rep), int(defs[i])); err != nil {
					return err
				}
			}
			if n-before != len(vals) {
				return fmt.Errorf("damaged file: %d values where the levels say %d", len(vals), n-before)
			}
			out.values = append(out.values, vals...)
			return more(indexed)
		}
		if err := eachValue(p, buf[:], func(v parquet.Value) error {
			has, err := place(v.RepetitionLevel(), v.DefinitionLevel())
			if !has || err != nil {
				return err
			}
			x, err := value(v)
			if err != nil {
				return fmt.Errorf("column %q: %w", c.Path()[0], err)
			}
			out.values = append(out.values, x)
			return nil
		}); err != nil {
			return err
		}
		return more(indexed)
	})
	if err != nil {
		return out, err
	}
	if len(out.offsets) > wanted && rows.to < all { // the last page had more
		n = out.offsets[wanted]
		out.values, out.offsets = out.values[:n], out.offsets[:wanted]
	}
	out.offsets = append(out.offsets, n)
	if out.rows() != wanted {
		return out, fmt.Errorf("damaged file: column %q has %d rows from row %d on, %d are wanted", c.Path()[0],
			out.rows(), rows.from, wanted)
	}
	return out, nil
}

// readInts reads rows of a list column of INT32 or INT64.
func readInts(rg parquet.RowGroup, c *parquet.Column, rows rowRange) (lists[int32], error) {
	kind := c.Type().Kind()
	return readLists(rg, c, rows, func(p parquet.Page) ([]int32, bool) {
		if kind != parquet.Int32 || p.Dictionary() != nil {
			return nil, false
		}
		d := p.Data()
		return d.Int32(), true
	}, func(v parquet.Value) (int32, error) {
		if kind == parquet.Int32 {
			return v.Int32(), nil
		}
		x := v.Int64()
		if int64(int32(x)) != x {
			return 0, fmt.Errorf("%d does not fit 32 bits", x)
		}
		return int32(x), nil
	})
}

// readStrings reads a list column of strings.
func readStrings(rg parquet.RowGroup, c *parquet.Column) (lists[string], error) {
	return readLists(rg, c, allRows(rg), func(parquet.Page) ([]string, bool) { return nil, false },
		func(v parquet.Value) (string, error) { return string(v.ByteArray()), nil })
}

// readScalars reads a plain column of a row group; value sees nulls too.
func readScalars[T any](rg parquet.RowGroup, c *parquet.Column, value func(parquet.Value) T) (out []T, err error) {
	defer guard(&err)
	var buf [256]parquet.Value
	err = eachPage(rg, c, allRows(rg), func(p parquet.Page, _ bool) error {
		vr := p.Values()
		for {
			k, err := vr.ReadValues(buf[:])
			for _, v := range buf[:k] {
				out = append(out, value(v))
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if k == 0 {
				return io.ErrNoProgress
			}
		}
	})
	if err == nil && int64(len(out)) != rg.NumRows() {
		err = fmt.Errorf("damaged file: column %q has %d values, the row group %d rows", c.Path()[0], len(out), rg.NumRows())
	}
	return out, err
}
