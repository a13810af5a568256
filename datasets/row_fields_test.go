package datasets

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestRowFieldMatrix: what becomes of a row of each kind whose one field is absent, null, empty, of another type or nested. "" is kept.
func TestRowFieldMatrix(t *testing.T) {
	const (
		null, missing, typed = "null_text", "missing_text", "text_not_a_string"
		msgs                 = `[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]`
		wrongList            = "no list of messages"
	)
	type states struct{ absent, null, empty, number, nested string }
	for _, k := range []struct {
		kind, row, beside string
		o                 Options
		fields            map[string]states
	}{
		{"plain", `{"text":"t"}`, "", Options{RowKind: RowPlain}, map[string]states{"text": {missing, null, "empty_text", typed, typed}}},
		{"alpaca", `{"instruction":"i","input":"n","output":"o","system":"s","history":[["q","a"]]}`, "",
			Options{RowKind: RowAlpaca}, map[string]states{
				"instruction": {"", "", "", typed, typed}, "input": {"", "", "", typed, typed}, "output": {missing, null, "", typed, typed},
				"system":  {"", "", "", typed, typed},
				"history": {"", "", "history: want a list", "history: want a list", "history: want a list"}}},
		{"alpaca", `{"instruction":"i","output":"o"}`, "", Options{RowKind: RowAlpaca},
			map[string]states{"instruction": {"empty_text", "empty_text", "empty_text", typed, typed}}},
		{"sharegpt", `{"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}],"system":"s"}`, "",
			Options{RowKind: RowShareGPT}, map[string]states{
				"conversations": {missing, null, wrongList, wrongList, wrongList}, "system": {"", "", "", typed, typed}}},
		{"messages", `{"messages":` + msgs + `}`, "", Options{RowKind: RowMessages}, map[string]states{
			"messages":             {missing, null, wrongList, wrongList, wrongList},
			"tools":                {"", "", "", "want a list of tools", "want a list of tools"},
			"chat_template_kwargs": {"", "", "", "want an object", ""}}},
		{"prompt_completion", `{"prompt":"p","completion":"c"}`, "", Options{RowKind: RowPromptCompletion}, map[string]states{
			"prompt": {missing, null, "", typed, typed}, "completion": {missing, null, "", typed, typed}}},
		{"prompt_completion", `{"prompt":` + msgs + `,"completion":` + msgs + `}`, "",
			Options{RowKind: RowPromptCompletion}, map[string]states{
				"prompt": {missing, null, "", typed, typed}, "completion": {missing, null, "the other a text", typed, typed}}},
		{"preference", `{"prompt":"p","chosen":"c","rejected":"r"}`, "", Options{RowKind: RowPreference}, map[string]states{
			"prompt": {missing, null, "", typed, typed}, "chosen": {missing, null, "", typed, typed}, "rejected": {"", "", "", "", ""}}},
		{"preference", `{"prompt":"q","chosen":` + msgs + `,"rejected":` + msgs + `}`, "",
			Options{RowKind: RowPreference}, map[string]states{
				"prompt": {"", "", "", typed, typed}, "chosen": {missing, null, "", typed, typed}}},
		{"unpaired_preference", `{"prompt":"p","completion":"c","label":true}`, "", Options{RowKind: RowUnpaired}, map[string]states{
			"prompt": {missing, null, "", typed, typed}, "completion": {missing, null, "", typed, typed},
			"label": {missing, null, `label: ""; want`, "label: 7; want", "label: {"}}},
		{"classification", `{"text":"t","label":"l"}`, "", Options{RowKind: RowClassification}, map[string]states{
			"text": {missing, null, "empty_text", typed, typed}, "label": {"no class", "no class", "no class", "", "one value"}}},
		{"translation", `{"en":"e","de":"d"}`, "", Options{Translation: []string{"en", "de"}}, map[string]states{
			"en": {missing, null, "empty_text", typed, typed}, "de": {missing, null, "empty_text", typed, typed}}},
		{"translation", `{"translation":{"en":"e","de":"d"}}`, "", Options{Translation: []string{"en", "de"}}, map[string]states{
			"translation": {missing, "no object", "no object", "no object", missing}}},
	} {
		for _, field := range slices.Sorted(maps.Keys(k.fields)) {
			s := k.fields[field]
			for state, c := range map[string][2]string{"absent": {"", s.absent}, "null": {"null", s.null}, "empty": {`""`, s.empty},
				"number": {"7", s.number}, "nested": {`{"x":{"y":1}}`, s.nested}} {
				var obj map[string]json.RawMessage
				if err := json.Unmarshal([]byte(k.row), &obj); err != nil {
					t.Fatal(err)
				}
				if obj[field] = json.RawMessage(c[0]); c[0] == "" {
					delete(obj, field)
				}
				recs, rejects, _ := readContent(t, "a.jsonl", string(encode(obj)), k.o)
				switch {
				case c[1] == "" && len(recs) != 1:
					t.Errorf("%s, %s %s: rejected, %s", k.kind, field, state, rejects[0].Value)
				case c[1] != "" && (len(rejects) != 1 || !strings.Contains(rejects[0].Reason+" "+rejects[0].Value, c[1])):
					t.Errorf("%s, %s %s: %+v %v, want %s", k.kind, field, state, recs, rejects, c[1])
				case len(rejects) == 1 && !strings.Contains(rejects[0].Reason+rejects[0].Value+rejects[0].Threshold, field) &&
					k.kind != "alpaca":
					t.Errorf("%s, %s %s: %q names no field", k.kind, field, state, rejects[0].Value)
				}
			}
		}
	}
}

// TestTurnFieldMatrix: the same of the fields of turns.
func TestTurnFieldMatrix(t *testing.T) {
	for _, c := range []struct{ turn, share, want string }{
		{`{"role":"assistant"}`, `{"from":"gpt"}`, "missing_text"},
		{`{"role":"assistant","content":null}`, `{"from":"gpt","value":null}`, "null_text"},
		{`{"role":"assistant","content":""}`, `{"from":"gpt","value":""}`, ""},
		{`{"role":"assistant","content":7}`, `{"from":"gpt","value":7}`, "text_not_a_string"},
		{`{"role":"assistant","content":{"a":1}}`, `{"from":"gpt","value":{"a":1}}`, "text_not_a_string"},
		{`{"role":null,"content":"x"}`, `{"from":null,"value":"x"}`, "null_text"},
		{`{"role":7,"content":"x"}`, `{"from":7,"value":"x"}`, "text_not_a_string"},
		{`{"role":"","content":"x"}`, `{"from":"","value":"x"}`, "_"},
		{`{"content":"x"}`, `{"value":"x"}`, "_"},
		{`null`, `null`, "null_text"},
		{`7`, `7`, "no list of messages"},
		{`{"role":"assistant","content":null,"tool_calls":[{"type":"function","function":{"name":"f","arguments":{}}}]}`, "", ""},
		{`{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f","arguments":{}}}]}`, "", ""},
		{`{"role":"assistant","content":null,"tool_calls":[]}`, "", "null_text"},
		{`{"role":"assistant","content":null,"tool_calls":null}`, "", "null_text"},
		{`{"role":"assistant","content":"x","tool_calls":"f()"}`, "", "tool_calls: no list"},
		{`{"role":"assistant","content":[{"type":"text","text":"x"},"y",{"text":"z"}]}`, "", ""},
		{`{"role":"assistant","content":[{"type":"text","text":null}]}`, "", "null_text"},
		{`{"role":"assistant","content":[{"type":"image","url":"x"}]}`, "", `type "image"`},
		{`{"role":"assistant","content":[]}`, "", "an empty list"},
		{`{"role":"assistant","content":"x","weight":0}`, `{"from":"gpt","value":"x","weight":0}`, ""},
		{`{"role":"assistant","content":"x","weight":null}`, `{"from":"gpt","value":"x","weight":null}`, ""},
		{`{"role":"assistant","content":"x","weight":0.5}`, `{"from":"gpt","value":"x","weight":0.5}`, "weight: 0.5"},
		{`{"role":"assistant","content":"x","train":"no"}`, `{"from":"gpt","value":"x","train":"no"}`, "train: "},
		{`{"role":"assistant","content":"x","train_detail":[{"begin_offset":0}]}`,
			`{"from":"gpt","value":"x","train_detail":[{}]}`, "train_detail"},
	} {
		for key, turn := range map[string]string{"messages": c.turn, "conversations": c.share, "completion": c.turn} {
			if turn == "" {
				continue
			}
			row := fmt.Sprintf(`{"%s":[{"role":"user","content":"q"},%s]}`, key, turn)
			if key == "completion" {
				row = fmt.Sprintf(`{"prompt":[{"role":"user","content":"q"}],"completion":[%s]}`, turn)
			}
			recs, rejects, _ := readContent(t, "a.jsonl", row, Options{})
			if c.want == "" && len(recs) != 1 || c.want != "" &&
				(len(rejects) != 1 || c.want != "_" && !strings.Contains(rejects[0].Value, c.want)) {
				t.Errorf("%s: %+v %v, want %q", row, recs, rejects, c.want)
			}
			if len(rejects) == 1 && (rejects[0].Reason != ReasonWrongRow || !strings.Contains(rejects[0].Value, key) ||
				string(rejects[0].Record) != row) {
				t.Errorf("%s: %+v", row, rejects[0])
			}
		}
	}
}

// TestRowsOf: what rows of several layouts become.
func TestRowsOf(t *testing.T) {
	for _, c := range []struct {
		content, row string
		o            Options
	}{
		// B02
		{`{"instruction":"","input":"What?","output":"O"}`,
			`{"kind":"prompt_completion","completion":"O","instruction":"What?"}`, Options{}},
		{`{"instruction":null,"input":"What?","output":"O"}`,
			`{"kind":"prompt_completion","completion":"O","instruction":"What?"}`, Options{}},
		{`{"instruction":"I","input":"N","output":"O","system":"S","history":[["q","a"],["q2","a2"]]}`,
			`{"kind":"prompt_completion","completion":"O","instruction":"I","input":"N","system":"S","history":[["q","a"],["q2","a2"]]}`,
			Options{}},
		// B17
		{`{"prompt":"Q","chosen":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"rejected":[{"role":"user","content":"Q"},{"role":"assistant","content":"B"}]}`,
			`{"kind":"messages","messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}]}`,
			Options{RowKind: RowPreference}},
		{`{"prompt":"Q","chosen":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"rejected":[]}`, // the other advice
			`{"kind":"messages","messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}]}`,
			Options{RowKind: RowPromptCompletion, Columns: map[string]string{"completion": "chosen"}}},
		{`{"prompt":"Q","chosen":[{"role":"assistant","content":"A"}],"rejected":[{"role":"assistant","content":"B"}]}`,
			`{"kind":"prompt_completion","prompt":[{"role":"user","content":"Q"}],"completion":[{"role":"assistant","content":"A"}]}`,
			Options{RowKind: RowPreference}},
		{`{"prompt":[{"role":"user","content":"Q"}],"chosen":[{"role":"assistant","content":"A"}],"rejected":[]}`,
			`{"kind":"prompt_completion","prompt":[{"role":"user","content":"Q"}],"completion":[{"role":"assistant","content":"A"}]}`,
			Options{RowKind: RowPreference}},
		{`{"chosen":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"rejected":[]}`,
			`{"kind":"messages","messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}]}`,
			Options{RowKind: RowPreference}},
		{`{"conversations":[{"from":"system","value":"S"},{"from":"human","value":"q"},{"from":"gpt","value":"a","weight":0}],"system":"S","tools":"[{\"name\":\"f\"}]"}`,
			`{"kind":"messages","messages":[{"role":"system","content":"S"},{"role":"user","content":"q"},{"role":"assistant","content":"a","weight":0}],"tools":[{"name":"f"}]}`, Options{}},
		{`{"messages":[{"role":"user","content":"q"}],"tools":[],"chat_template_kwargs":{"enable_thinking":false}}`,
			`{"kind":"messages","messages":[{"role":"user","content":"q"}],"chat_template_kwargs":{"enable_thinking":false}}`, Options{}},
	} {
		recs, rejects, _ := readContent(t, "a.jsonl", c.content, c.o)
		if len(recs) != 1 || recs[0].Row != c.row {
			t.Errorf("%s: %+v %v", c.content, recs, rejects)
		}
	}
	if recs, rejects, _ := readContent(t, "a.jsonl",
		`{"conversations":[{"from":"system","value":"S"},{"from":"human","value":"q"}],"system":"T"}`, Options{}); len(recs) != 0 ||
		!strings.Contains(rejects[0].Value, "two system texts") {
		t.Errorf("two system texts: %+v", recs)
	}
}

// TestKeys: a key is a text, or a number or boolean as it is written; a row without one has none.
func TestKeys(t *testing.T) {
	for raw, want := range map[string]string{`"k"`: "k", `7`: "7", `true`: "true", `null`: "", `""`: "", `{"a":1}`: "-",
		`["a"]`: "-", ``: ""} {
		row := `{"text":"t","user":` + raw + `}`
		if raw == "" {
			row = `{"text":"t"}`
		}
		recs, rejects, _ := readContent(t, "a.jsonl", row, Options{KeyColumn: "user"})
		if want == "-" && (len(rejects) != 1 || rejects[0].Value != "user: a key is one value") ||
			want != "-" && (len(recs) != 1 || recs[0].Key != want) {
			t.Errorf("%s: %+v %v", row, recs, rejects)
		}
	}
}

// TestTally: fields that hold something and are not used are counted by name, of kept rows alone.
func TestTally(t *testing.T) {
	for _, c := range []struct {
		name, content, unused, notes string
		o                            Options
	}{
		{"a.jsonl", `{"text":"a","id":1,"meta":{"x":1},"none":null,"e":"","l":[],"url":"u"}` + "\n" + `{"text":"b","id":2}` + "\n" +
			`{"text":null,"bad":1}`, "map[id:2 meta:1]", "map[]", Options{}},
		{"a.jsonl", `{"text":"a","user":"k","id":1}`, "map[id:1]", "map[]", Options{KeyColumn: "user"}},
		{"a.jsonl", `{"instruction":"i","input":"","output":"","category":"c"}`, "map[category:1]", "map[empty_answer:1]", Options{}},
		{"a.jsonl", `{"instruction":"i","output":"o","response":"r"}`, "map[response:1]", "map[]", Options{}},
		{"a.jsonl", `{"prompt":"p","completion":"c","tools":[{"name":"f"}],"weight":0}`, "map[tools:1 weight:1]", "map[]", Options{}},
		{"a.jsonl", `{"prompt":"p","chosen":"c","rejected":"r","score_chosen":1}`, "map[rejected:1 score_chosen:1]", "map[]",
			Options{RowKind: RowPreference}},
		{"a.jsonl", `{"prompt":"other","chosen":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}]}`, "map[prompt:1]",
			"map[]", Options{RowKind: RowPreference}},
		{"a.jsonl", `{"messages":[{"role":"user","content":"q","name":"n"},{"role":"assistant","content":"","weight":1}],"id":3}`,
			"map[id:1 messages[].name:1]", "map[empty_answer:1]", Options{}},
		{"a.jsonl", `{"conversations":[{"from":"human","value":"q","markdown":true}],"id":"x"}`, "map[conversations[].markdown:1 id:1]",
			"map[]", Options{}},
		{"a.jsonl", `{"translation":{"en":"e","de":"d","fr":"f"},"id":1}`, "map[id:1 translation.fr:1]", "map[]",
			Options{Translation: []string{"en", "de"}}},
		{"a.jsonl", `{"text":"t","label":"l","id":7}`, "map[id:1]", "map[]", Options{RowKind: RowClassification}},
		{"a.csv", "text,id,text\nx,1,y\nz,,\n", "map[id:1 text.1:1]", "map[]", Options{}},
		{"a.tsv", "text\tb\n\"x\"\t1\n\"x,\" y\t2\n", "map[b:2]", "map[quoted_tsv:1]", Options{}},
		{"a.csv", ",text\n0,x\n", "map[Unnamed: 0:1]", "map[]", Options{}},
	} {
		tally := tallyOf(t, c.name, c.content, c.o)
		if fmt.Sprint(tally.Unused) != c.unused || fmt.Sprint(tally.Notes) != c.notes {
			t.Errorf("%s: %v %v, want %s %s", c.content, tally.Unused, tally.Notes, c.unused, c.notes)
		}
	}
	// A tally is bounded, and the same every time.
	row := map[string]any{"text": "x"}
	for i := range 1000 {
		row[fmt.Sprint("k", i)] = i
	}
	a, b := tallyOf(t, "a.jsonl", string(encode(row)), Options{}), tallyOf(t, "a.jsonl", string(encode(row)), Options{})
	sum := int64(0)
	for _, n := range a.Unused {
		sum += n
	}
	if len(a.Unused) > maxNames+1 || !maps.Equal(a.Unused, b.Unused) || sum != 1000 {
		t.Errorf("%d names, %d others", len(a.Unused), a.Unused[OtherNames])
	}
}
