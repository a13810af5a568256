package serve

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const twoTools = `"tools":[{"type":"function","function":{"name":"mult","parameters":{"type":"object","properties":{"a":{"type":"integer"}},` +
	`"required":["a"]}}},{"type":"function","function":{"name":"now"}}]`

// TestTools: calls are found in what a model says, whole and streamed, with their places and the reason.
func TestTools(t *testing.T) {
	f := newFake(t)
	s := New(f)
	const arguments = `{"a": 1}`
	for _, c := range []struct {
		says, choice, content, reason string
		calls                         int
	}{
		{arguments, `{"type":"function","function":{"name":"mult"}}`, "", "stop", 1},
		{`{"name": "mult", "arguments": {"a": 1}}`, `"required"`, "", "tool_calls", 1},
		{`{"name": "mult", "parameters": {"a": 1}}`, `"auto"`, "", "tool_calls", 1},
		{"Well.\n<tool_call>\n{\"name\": \"mult\", \"arguments\": {\"a\": 1}}\n</tool_call>\n" +
			`<tool_call>{"name": "now", "arguments": {}}</tool_call>`, `null`, "Well.", "tool_calls", 2},
		{`{"name": "other", "arguments": {"a": 1}}`, `"auto"`, `{"name": "other", "arguments": {"a": 1}}`, "stop", 0},
		{`{"name": "mult", "arguments": {"a": 1}}`, `"none"`, `{"name": "mult", "arguments": {"a": 1}}`, "stop", 0},
		{"No calls.", `"auto"`, "No calls.", "stop", 0},
	} {
		f.says = c.says
		ask := fill(`{Y,` + twoTools + `,"tool_choice":` + c.choice)
		m := object(t, post(s, "/v1/chat/completions", ask+`}`))
		calls, _ := dig(m, "choices", 0, "message", "tool_calls").([]any)
		content, _ := dig(m, "choices", 0, "message", "content").(string)
		if len(calls) != c.calls || content != c.content || dig(m, "choices", 0, "finish_reason") != c.reason {
			t.Errorf("%s with %s: %v", c.says, c.choice, m["choices"])
		}
		if c.calls > 0 && (dig(calls, 0, "function", "name") != "mult" || dig(calls, 0, "function", "arguments") != arguments ||
			dig(calls, 0, "type") != "function" || !strings.HasPrefix(fmt.Sprint(dig(calls, 0, "id")), "call_")) {
			t.Errorf("%s: %v", c.says, calls)
		}
		streamed, n, reason := "", 0, any(nil)
		for _, e := range events(t, post(s, "/v1/chat/completions", ask+`,"stream":true}`)) {
			text, _ := dig(e, "choices", 0, "delta", "content").(string)
			streamed += text
			list, _ := dig(e, "choices", 0, "delta", "tool_calls").([]any)
			for _, x := range list {
				if dig(x, "index") != float64(n) || dig(x, "function", "name") == "" {
					t.Errorf("%s: the call %v", c.says, x)
				}
				n++
			}
			if r := dig(e, "choices", 0, "finish_reason"); r != nil {
				reason = r
			}
		}
		if streamed != c.content || n != c.calls || reason != c.reason {
			t.Errorf("%s streamed: %q, %d calls, %v", c.says, streamed, n, reason)
		}
	}
}

// TestConstrained: whatever the model would say, what it says is of the schema.
func TestConstrained(t *testing.T) {
	s := New(live(t, Options{Name: "base", Context: 256}))
	const schema = `{"type":"object","properties":{"name":{"type":"string","maxLength":12},"age":{"type":"integer"},` +
		`"kind":{"enum":["a","b c"]},"tags":{"type":"array","items":{"type":"string","maxLength":5},"maxItems":3}},` +
		`"required":["name","age","kind","tags"],"additionalProperties":false}`
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("s.json", doc); err != nil {
		t.Fatal(err)
	}
	held, err := c.Compile("s.json")
	if err != nil {
		t.Fatal(err)
	}
	ended := 0
	for seed := range 4 {
		for _, sampling := range []string{`"temperature":0`, `"temperature":1.5,"top_k":5`, `"temperature":1,"top_p":0.5,"n":2`} {
			w := post(s, "/v1/chat/completions", fill(fmt.Sprintf(`{Y,%s,"seed":%d,"max_tokens":120,"response_format":{"type":"json_schema",`+
				`"json_schema":{"name":"x","strict":true,"schema":%s}}}`, sampling, seed, schema)))
			m := object(t, w)
			if w.Code != 200 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if dig(m, "choices", 0, "finish_reason") != "stop" {
				continue
			}
			ended++
			got, err := jsonschema.UnmarshalJSON(strings.NewReader(answerOf(m)))
			if err == nil {
				err = held.Validate(got)
			}
			if err != nil {
				t.Errorf("%s: %v", answerOf(m), err)
			}
		}
	}
	if ended < 6 {
		t.Errorf("%d of 12 answers end", ended)
	}
	m := object(t, post(s, "/v1/chat/completions", fill(`{Y,"temperature":0,"max_tokens":60,`+twoTools+
		`,"tool_choice":{"type":"function","function":{"name":"mult"}}}`)))
	var args struct{ A *int }
	text, _ := dig(m, "choices", 0, "message", "tool_calls", 0, "function", "arguments").(string)
	if err := json.Unmarshal([]byte(text), &args); err != nil || args.A == nil {
		t.Errorf("%q: %v", text, err)
	}
	m = object(t, post(s, "/v1/chat/completions", fill(`{Y,"temperature":1,"seed":4,"max_tokens":200,"response_format":{"type":"json_object"}}`)))
	if text := answerOf(m); !strings.HasPrefix(text, "{") || dig(m, "choices", 0, "finish_reason") == "stop" && !json.Valid([]byte(text)) {
		t.Errorf("%q", text)
	}
}
