package datasets

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestClassRows: a class is a string, a number or a boolean; what has none, or an unknown one, is rejected with the reason.
func TestClassRows(t *testing.T) {
	in := strings.Join([]string{`{"text": "a", "label": "x"}`, `{"text": "b", "label": 7}`, `{"text": "c", "label": true}`, `{"text": "d"}`,
		`{"text": "e", "label": null}`,
		`{"text": "f", "label": [1]}`, `{"label": "x"}`, `{"text": "g", "label": "z"}`}, "\n")
	path := t.TempDir() + "/in.jsonl"
	if err := os.WriteFile(path, []byte(in), 0o666); err != nil {
		t.Fatal(err)
	}
	o := Options{RowKind: RowClassification, Labels: []string{"x", "7", "true"}}
	r, err := Open(path, "in", o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var labels, reasons []string
	for {
		rec, rej, err := r.Next()
		if err != nil {
			break
		}
		if rej != nil {
			reasons = append(reasons, rej.Reason)
			continue
		}
		labels = append(labels, rec.Label)
		if row, text, err := RewriteRow(rec.Row, strings.ToUpper); err != nil || text != strings.ToUpper(rec.Text) ||
			!strings.Contains(row, `"label":"`+rec.Label+`"`) {
			t.Errorf("rewritten: %s %q %v", row, text, err)
		}
	}
	if !slices.Equal(labels, []string{"x", "7", "true"}) ||
		!slices.Equal(reasons, []string{ReasonWrongRow, ReasonWrongRow, ReasonWrongRow, ReasonWrongRow, ReasonUnknownLabel}) {
		t.Errorf("labels %v, reasons %v", labels, reasons)
	}
	text := t.TempDir() + "/in.txt"
	if err := os.WriteFile(text, []byte("a\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(text, "in", o); err == nil || !strings.Contains(err.Error(), "CSV") {
		t.Errorf("a text file: %v", err)
	}
	for _, c := range [][2][]string{{{"10", "9", "-1"}, {"-1", "9", "10"}}, {{"b", "10", "9"}, {"10", "9", "b"}}} {
		if SortLabels(c[0]); !slices.Equal(c[0], c[1]) {
			t.Errorf("sorted %v, want %v", c[0], c[1])
		}
	}
}

// TestPackClasses: the class of a document of one token is kept; documents with classes are not cut apart.
func TestPackClasses(t *testing.T) {
	o := PackOptions{Strategy: PackBFDSplit, SequenceLength: 4, IsolateDocuments: true, Classes: true}
	var got Sequence
	_, err := Pack([]Doc{{ID: "a", Tokens: []int32{5}, Labels: []int32{2}}, {ID: "b", Tokens: []int32{6, 7}, Labels: []int32{NoLoss, 1}}},
		o, func(s Sequence) error { got = s; return nil })
	if err != nil || !slices.Equal(got.Labels, []int32{NoLoss, 1, 2}) {
		t.Errorf("%v %v", got.Labels, err)
	}
	o.Strategy = PackWrapped
	if err := o.Validate(); err == nil {
		t.Error("wrapped")
	}
}
