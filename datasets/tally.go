package datasets

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// What is noted of records that are kept.
const (
	NoteEmptyAnswer = "empty_answer"  // an answer to be learnt is an empty text
	NoteNUL         = "nul_character" // the text has a NUL
	NoteQuotedTSV   = "quoted_tsv"    // a field of TSV is whole in quotation marks, as CSV would have it
	NoteNotPages    = "not_pages"     // an answer in a web archive that is not a page: a redirect, an error, an image
)

// Tally counts what a reader found and could not use, of the records that it kept.
type Tally struct {
	Unused map[string]int64 // rows by the name of a field that holds something and is not used; of a turn's as "messages[].name"
	Notes  map[string]int64 // records by what is noted of them
}

// maxNames bounds the names of a tally: keys of an object may be data.
const maxNames = 256

// OtherNames stands for the names beyond that bound.
const OtherNames = "(others)"

func count(to *map[string]int64, name string, n int64) {
	if *to == nil {
		*to = map[string]int64{}
	}
	if _, ok := (*to)[name]; !ok && len(*to) >= maxNames {
		name = OtherNames
	}
	(*to)[name] += n
}

func (t *Tally) note(name string) { count(&t.Notes, name, 1) }

// Add adds another tally.
func (t *Tally) Add(o Tally) {
	for _, k := range slices.Sorted(maps.Keys(o.Unused)) {
		count(&t.Unused, k, o.Unused[k])
	}
	for _, k := range slices.Sorted(maps.Keys(o.Notes)) {
		count(&t.Notes, k, o.Notes[k])
	}
}

// fields counts the fields of an object that are not used and hold something.
func (t *Tally) fields(obj map[string]json.RawMessage, used map[string]bool, prefix string) {
	one := func(name string) {
		if used[name] {
			return
		}
		switch string(bytes.TrimSpace(obj[name])) {
		case "null", `""`, "[]", "{}":
			return
		}
		count(&t.Unused, prefix+name, 1)
	}
	if len(t.Unused)+len(obj) > maxNames { // which names are left out must not depend on the order of a map
		for _, name := range slices.Sorted(maps.Keys(obj)) {
			one(name)
		}
		return
	}
	for name := range obj {
		one(name)
	}
}
