package datasets

import (
	"math"
	"slices"
)

// anyRecord is a staged record that says its source itself: records of any sources lie in one file.
type anyRecord struct {
	Source string `parquet:"source,dict"`
	Index  int64  `parquet:"index,delta"`
	Text   string `parquet:"text"`
	Key    string `parquet:"key,dict"`
	URL    string `parquet:"url"`
	Row    string `parquet:"row"`
	Label  string `parquet:"label,dict"`
	Print  []byte `parquet:"print"`
}

// WriteRecordFile stages records of any sources in a file of one row group, which has their sources and labels too. One without a print
// gets its own. The same records in the same order have the same bytes.
func WriteRecordFile(path string, all []Record) error {
	t, err := createTable[anyRecord](path, math.MaxInt64)
	if err != nil {
		return err
	}
	defer t.file.Abort()
	for i := range all {
		r := &all[i]
		if r.Print == (Print{}) {
			r.Print = PrintOf(r.Text)
		}
		if err := t.add(anyRecord{r.Source, r.Index, r.Text, r.Key, r.URL, r.Row, r.Label, r.Print[:]}, 0); err != nil {
			return err
		}
	}
	_, err = t.close()
	return err
}

// ReadRecordFile reads a file of [WriteRecordFile].
func ReadRecordFile(path string) ([]Record, error) {
	t, err := openTable(path)
	if err != nil {
		return nil, err
	}
	defer t.r.Close()
	var out []Record
	for g := range t.groups() {
		index, err := columnOf(t, g, "index", asInt64)
		if err != nil {
			return nil, err
		}
		at := len(out)
		out = slices.Grow(out, len(index))[:at+len(index)]
		rows := out[at:]
		for i, n := range index {
			rows[i].Index = n
		}
		for _, c := range []struct {
			name string
			put  func(*Record, string)
		}{
			{"source", func(r *Record, s string) { r.Source = s }},
			{"text", func(r *Record, s string) { r.Text = s }},
			{"key", func(r *Record, s string) { r.Key = s }},
			{"url", func(r *Record, s string) { r.URL = s }},
			{"row", func(r *Record, s string) { r.Row = s }},
			{"label", func(r *Record, s string) { r.Label = s }},
			{"print", func(r *Record, s string) { copy(r.Print[:], s) }},
		} {
			column, err := columnOf(t, g, c.name, asString)
			if err != nil {
				return nil, err
			}
			for i, s := range column {
				c.put(&rows[i], s)
			}
		}
	}
	return out, nil
}
