package inspect

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/transforms/ingest"
)

// inspectedRecords is how many records of an input file are read to describe it.
const inspectedRecords = 1000

// inspectInput describes a file of input as it would be read without settings: what is detected, the first records, what is rejected and
// not used.
func inspectInput(path string) ([]report.Fact, error) {
	r, err := datasets.Open(path, filepath.Base(path), datasets.Options{Pages: true})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var first []report.Fact
	kept, rejected := 0, map[string]int{}
	more := ""
	for {
		rec, rej, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if rej == nil {
			rej = ingest.MainText(r, &rec)
		}
		if rej != nil {
			rejected[rej.Reason]++
			if len(first) < 3 {
				at := datasets.DocID(rej.Source, rej.Index)
				first = append(first, report.NewFact("rejected",
					fmt.Sprintf("%s, %s %s: %s", at, rej.Reason, rej.Value, report.OneLine(string(rej.Record)))))
			}
		} else if kept++; len(first) < 3 {
			first = append(first, report.NewFact("record", report.OneLine(rec.Text)))
		}
		if kept == inspectedRecords {
			more = ", the first"
			break
		}
	}
	format, rows := r.Layout()
	facts := report.Facts("input file", path, "detected", fmt.Sprintf("%s, rows: %s", format, rows), "records kept", fmt.Sprint(kept, more))
	for _, k := range slices.Sorted(maps.Keys(rejected)) {
		facts = append(facts, report.NewFact("rejected: "+k, rejected[k]))
	}
	t := r.Tally()
	return append(append(facts, report.TallyFacts(t.Unused, t.Notes)...), first...), nil
}

// Texts are the first n texts of a file of input, read as it would be without settings.
func Texts(path string, n int) (texts []string, err error) {
	r, err := datasets.Open(path, filepath.Base(path), datasets.Options{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for len(texts) < n {
		rec, rejected, err := r.Next()
		switch {
		case errors.Is(err, io.EOF) && len(texts) > 0:
			return texts, nil
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("%s has no text", path)
		case err != nil:
			return nil, err
		case rejected == nil:
			texts = append(texts, rec.Text)
		}
	}
	return texts, nil
}
