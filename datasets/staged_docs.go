package datasets

import (
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// anyDoc is a staged document that says its source and id itself: documents of any sources lie in one file.
type anyDoc struct {
	Source string  `parquet:"source,dict"`
	ID     string  `parquet:"id"`
	Index  int64   `parquet:"index"`
	Hash   int64   `parquet:"hash"`
	Split  int64   `parquet:"split"`
	Length int64   `parquet:"length"`
	Key    string  `parquet:"key,dict"`
	IDs    []int32 `parquet:"ids,list" parquet-element:",delta"`
	Starts []int32 `parquet:"starts,list" parquet-element:",delta"`
	Ends   []int32 `parquet:"ends,list" parquet-element:",delta"`
	Labels []int32 `parquet:"labels,list"`
}

// WriteDocFile stages tokenized documents of any sources, each with a span for each token, in a file of row groups of about a million
// tokens, and returns the rows of each. [ReadDocRefs] reads what the assignment to shards needs of it. The same documents in the same order
// have the same bytes.
func WriteDocFile(path string, all []StagedDoc) (groups []int64, err error) {
	t, err := createTable[anyDoc](path, stagedGroupTokens, parquet.PageBufferSize(stagedPageBytes))
	if err != nil {
		return nil, err
	}
	defer t.file.Abort()
	var starts, ends []int32
	for i := range all {
		d := &all[i]
		n := len(d.Tokens)
		if len(d.Spans) != n || d.Labels != nil && len(d.Labels) != n {
			return nil, fmt.Errorf("document %s: %d spans for %d tokens", d.ID, len(d.Spans), n)
		}
		starts, ends = slices.Grow(starts[:0], n)[:n], slices.Grow(ends[:0], n)[:n]
		for k, s := range d.Spans {
			starts[k], ends[k] = s[0], s[1]
		}
		row := anyDoc{Source: d.Source, ID: d.ID, Index: d.Index, Hash: int64(d.Hash), Split: int64(d.Split), Length: int64(n), Key: d.Key,
			IDs: d.Tokens, Starts: starts, Ends: ends, Labels: d.Labels}
		if err := t.add(row, int64(n)+16); err != nil {
			return nil, err
		}
	}
	return t.close()
}

// ReadDocFile reads the rows from … to-1 of a row group of a file of [WriteDocFile]; a to below 0 is the end of the group.
func ReadDocFile(path string, group int, from, to int32) ([]StagedDoc, error) {
	t, err := openTable(path)
	if err != nil {
		return nil, err
	}
	defer t.r.Close()
	if to < 0 {
		if group >= t.groups() {
			return nil, fmt.Errorf("staged file %s: there is no row group %d", path, group)
		}
		to = int32(t.f.RowGroups()[group].NumRows())
	}
	rows := make([]int32, 0, max(to-from, 0))
	for r := from; r < to; r++ {
		rows = append(rows, r)
	}
	out, err := t.docs("", group, rows)
	if err != nil {
		return nil, err
	}
	source, err := columnOf(t, group, "source", asString)
	if err != nil {
		return nil, err
	}
	id, err := columnOf(t, group, "id", asString)
	if err != nil {
		return nil, err
	}
	for i, r := range rows {
		out[i].Source, out[i].ID = source[r], id[r]
	}
	return out, nil
}
