package datasets

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readContent reads a file of the given content and name.
func readContent(t *testing.T, name, content string, o Options) (recs []Record, rejects []*Reject, layout string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path, name, o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		rec, rej, err := r.Next()
		if errors.Is(err, io.EOF) {
			f, k := r.Layout()
			return recs, rejects, f + "/" + k
		}
		if err != nil {
			t.Fatal(err)
		}
		if rej != nil {
			rejects = append(rejects, rej)
		} else {
			recs = append(recs, rec)
		}
	}
}

// tallyOf is the tally of a file of the given content and name.
func tallyOf(t *testing.T, name, content string, o Options) Tally {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path, name, o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		if _, _, err := r.Next(); errors.Is(err, io.EOF) {
			return r.Tally()
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestRowKinds(t *testing.T) {
	for _, c := range []struct {
		name, content, layout, text, row string
		o                                Options
	}{
		{"a.jsonl", `{"prompt": "P", "completion": "C"}`, "jsonl/prompt_completion", "P\nC",
			`{"kind":"prompt_completion","prompt":"P","completion":"C"}`, Options{}},
		{"a.jsonl", `{"question": "P<", "answer": "C"}`, "jsonl/prompt_completion", "P<\nC",
			`{"kind":"prompt_completion","prompt":"P<","completion":"C"}`,
			Options{Columns: map[string]string{"prompt": "question", "completion": "answer"}}},
		{"a.jsonl", `{"messages": [{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}], "tools": null}`,
			"jsonl/messages", "hi\nho",
			`{"kind":"messages","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}]}`, Options{}},
		{"a.jsonl", `{"conversations": [{"from":"human","value":"hi"},{"from":"gpt","value":"ho"}], "system": "be"}`,
			"jsonl/sharegpt", "be\nhi\nho",
			`{"kind":"messages","messages":[{"role":"system","content":"be"},{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}]}`, Options{}},
		{"a.json", `[{"instruction": "I", "input": "", "response": "R"}]`, "json/alpaca", "I\nR",
			`{"kind":"prompt_completion","completion":"R","instruction":"I"}`, Options{}},
		{"a.json", ` [ {"text": "plain"} ] `, "json/plain", "plain", "", Options{}},
		{"a.csv", "text,category\n\"a, \"\"b\"\"\",x\n", "csv/plain", `a, "b"`, "", Options{}},
		{"a.tsv", "prompt\tcompletion\nP, q\tC\n", "tsv/prompt_completion", "P, q\nC",
			`{"kind":"prompt_completion","prompt":"P, q","completion":"C"}`, Options{}},
	} {
		recs, rejects, layout := readContent(t, c.name, c.content, c.o)
		if len(recs) != 1 || len(rejects) != 0 || layout != c.layout || recs[0].Text != c.text || recs[0].Row != c.row {
			t.Errorf("%s: %+v %+v %s", c.content, recs, rejects, layout)
		}
	}
}

func TestRowFaults(t *testing.T) {
	for _, c := range []struct {
		name, content string
		kept          int
		reasons       string
	}{
		{"a.json", `[{"text": "a"}, 3, {"text": null}, {"text": "b"}]`, 2, "not_an_object null_text"},
		{"a.json", `[{"text": "a"}, {"text": "b"`, 1, "truncated_record"},
		{"a.json", `[{"text": "a"} {"text": "b"}]`, 1, "malformed_json"},
		{"a.json", `[]`, 0, ""},
		{"a.csv", "text,b\na,1\nb\nc,2\n", 2, "wrong_row"},
		{"a.csv", "text,b\n\xff,1\nb,2\n", 1, "invalid_utf8"},
		{"a.csv", "", 0, ""},
		{"a.jsonl", `{"messages": [{"content":"hi"}]}`, 0, "wrong_row"},
		{"a.jsonl", `{"conversations": [{"from":"narrator","value":"hi"}]}`, 0, "wrong_row"},
		{"a.jsonl", "{\"chosen\": \"a\", \"rejected\": \"b\"}", 0, "wrong_row"},
		{"a.json", `[{"text": "` + strings.Repeat("x", 1<<20) + `"}, {"text": "b"}]`, 0, "record_too_large"},
	} {
		recs, rejects, _ := readContent(t, c.name, c.content, Options{MaxRecordBytes: 1 << 16})
		var reasons []string
		for _, r := range rejects {
			reasons = append(reasons, r.Reason)
		}
		if len(recs) != c.kept || fmt.Sprint(strings.Join(reasons, " ")) != c.reasons {
			t.Errorf("%.60s: %d kept, %v; want %d, %s", c.content, len(recs), reasons, c.kept, c.reasons)
		}
	}
	recs, rejects, _ := readContent(t, "a.jsonl", `{"prompt":"p","completion":"good","label":true}
{"prompt":"p","completion":"bad","label":false}
{"prompt":"p","completion":"odd","label":"yes"}`, Options{RowKind: RowUnpaired})
	if len(recs) != 1 || !strings.Contains(recs[0].Row, "good") || len(rejects) != 2 || rejects[0].Reason != ReasonUndesirable ||
		rejects[1].Reason != ReasonWrongRow {
		t.Errorf("unpaired preferences: %v, %v", recs, rejects)
	}
	for _, o := range []Options{{RowKind: "chat"}, {Columns: map[string]string{"question": "prompt"}},
		{Columns: map[string]string{"prompt": ""}}} {
		if o.Validate() == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestRewriteRow(t *testing.T) {
	row, text,
		err := RewriteRow(`{"kind":"messages","messages":[{"role":"user","content":"a b"},{"role":"assistant","content":"b"}],"tools":[{"name":"b"}]}`,
		func(s string) string { return strings.ReplaceAll(s, "b", "X") })
	if err != nil || text != "a X\nX" ||
		row != `{"kind":"messages","messages":[{"content":"a X","role":"user"},{"content":"X","role":"assistant"}],"tools":[{"name":"b"}]}` {
		t.Errorf("%s %q %v", row, text, err)
	}
}

// TestPackBFDDrops: "bfd" drops what is beyond the sequence length, "bfd_split" keeps it.
func TestPackBFDDrops(t *testing.T) {
	docs := []Doc{{ID: "a", Tokens: []int32{1, 2, 3, 4, 5, 6, 7}}, {ID: "b", Tokens: []int32{8, 9}}}
	for strategy, want := range map[string][2]int64{PackBFD: {6, 3}, PackBFDSplit: {9, 0}} {
		n := int64(0)
		st, err := Pack(docs, PackOptions{Strategy: strategy, SequenceLength: 4, IsolateDocuments: true},
			func(s Sequence) error { n += int64(len(s.InputIDs)); return nil })
		if err != nil || n != want[0] || st.Dropped != want[1] || st.Tokens != 9 {
			t.Errorf("%s: %d tokens, %+v, %v", strategy, n, st, err)
		}
	}
}
