package serve

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

type recorded struct {
	Requests []struct {
		Method, Path string
		Body         json.RawMessage
	}
}

// TestRecorded: what the real clients send (langchain-openai 1.7.4 and openai 3.57.0, recorded from them) is answered in their form, and
// its streamed form says the same.
func TestRecorded(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "client_requests.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]recorded
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	f := newFake(t)
	s := New(f)
	ran := 0
	for name, c := range all {
		for _, q := range c.Requests {
			ran++
			if q.Method == "GET" {
				if got := dig(object(t, get(s, q.Path)), "data", 1, "id"); got != "my-adapter" {
					t.Errorf("%s: the second model is %v", name, got)
				}
				continue
			}
			var body map[string]any
			if err := json.Unmarshal(q.Body, &body); err != nil {
				t.Fatal(err)
			}
			body["stream"] = false
			delete(body, "stream_options")
			if body["max_completion_tokens"] == 9.0 {
				body["stop"] = []string{"zz"}
			}
			w := post(s, q.Path, string(encode(body)))
			if w.Code != 200 {
				t.Errorf("%s: %d %s", name, w.Code, w.Body)
				continue
			}
			m := object(t, w)
			if strings.HasSuffix(q.Path, "embeddings") {
				text, _ := dig(m, "data", 0, "embedding").(string)
				b, err := base64.StdEncoding.DecodeString(text)
				if err != nil || len(b) != 12 || math.Float32frombits(binary.LittleEndian.Uint32(b[4:])) != 0.1 {
					t.Errorf("%s: %s", name, w.Body)
				}
				continue
			}
			said := answerOf(m)
			if said != f.says && !strings.HasPrefix(f.says, said) || said == "" || m["model"] != body["model"] ||
				dig(m, "usage", "total_tokens") == nil || dig(m, "choices", 0, "finish_reason") == nil {
				t.Errorf("%s: %s", name, w.Body)
			}
			body["stream"], body["stream_options"] = true, map[string]any{"include_usage": true}
			list := events(t, post(s, q.Path, string(encode(body))))
			streamed, last := "", list[len(list)-1]
			for _, e := range list {
				streamed += answerOf(e)
			}
			if streamed != said || !reflect.DeepEqual(last["usage"], m["usage"]) || len(last["choices"].([]any)) != 0 {
				t.Errorf("%s: streamed %q with %v, else %q with %v", name, streamed, last["usage"], said, m["usage"])
			}
		}
	}
	if ran < 14 {
		t.Errorf("%d requests", ran)
	}
}

// answerOf is the text of a first choice.
func answerOf(m map[string]any) string {
	for _, at := range [][]any{{"choices", 0, "message", "content"}, {"choices", 0, "delta", "content"}, {"choices", 0, "text"},
		{"choices", 0, "message", "tool_calls", 0, "function", "arguments"},
		{"choices", 0, "delta", "tool_calls", 0, "function", "arguments"}} {
		if s, ok := dig(m, at...).(string); ok {
			return s
		}
	}
	return ""
}

// malformed are bodies that are wrong, by path; X stands for what all need.
var malformed = map[string][]string{
	"/v1/completions": {``, `{`, `[]`, `null`, `1`, `"a"`, `{}`, `{"model":"base"}`, `{"prompt":"a"}`, `{"model":null,"prompt":"a"}`,
		`{"model":"","prompt":"a"}`, `{"model":7,"prompt":"a"}`, `{"model":["base"],"prompt":"a"}`, `{"model":"none","prompt":"a"}`,
		`{"model":"../base","prompt":"a"}`, `{"model":"base","model":"base","prompt":"a"}`, "{\"model\":\"base\",\"prompt\":\"\xff\"}",
		`{"model":"base","prompt":null}`, `{"model":"base","prompt":7}`, `{"model":"base","prompt":{}}`, `{"model":"base","prompt":[]}`,
		`{"model":"base","prompt":[[]]}`, `{"model":"base","prompt":["a",1]}`, `{"model":"base","prompt":[1,"a"]}`,
		`{"model":"base","prompt":[null]}`, `{"model":"base","prompt":[1,null]}`, `{"model":"base","prompt":[[1],["a"]]}`,
		`{"model":"base","prompt":[[1],2]}`, `{"model":"base","prompt":[-1]}`, `{"model":"base","prompt":[999999]}`,
		`{"model":"base","prompt":[1.5]}`, `{"model":"base","prompt":[[[1]]]}`, `{"model":"base","prompt":[9999999999999]}`,
		`{X,"max_tokens":-1}`, `{X,"max_tokens":1.5}`, `{X,"max_tokens":"9"}`, `{X,"max_tokens":100000}`, `{X,"max_tokens":[]}`,
		`{X,"n":0}`, `{X,"n":-1}`, `{X,"n":1000}`, `{X,"n":"1"}`, `{X,"n":1.5}`, `{X,"temperature":-0.1}`, `{X,"temperature":2.1}`,
		`{X,"temperature":"hot"}`, `{X,"temperature":1e999}`, `{X,"top_p":-0.1}`, `{X,"top_p":1.1}`, `{X,"top_p":[]}`, `{X,"top_k":-2}`,
		`{X,"top_k":0.5}`, `{X,"min_p":2}`, `{X,"min_p":-1}`, `{X,"presence_penalty":3}`, `{X,"frequency_penalty":-3}`,
		`{X,"repetition_penalty":0}`, `{X,"repetition_penalty":-1}`, `{X,"seed":"x"}`, `{X,"seed":1.5}`, `{X,"seed":99999999999999999999}`,
		`{X,"stop":""}`, `{X,"stop":[""]}`, `{X,"stop":7}`, `{X,"stop":[7]}`, `{X,"stop":[null]}`, `{X,"stop":{}}`, `{X,"logprobs":-1}`,
		`{X,"logprobs":21}`, `{X,"logprobs":true}`, `{X,"echo":"yes"}`, `{X,"echo":1}`, `{X,"stream":"true"}`, `{X,"stream":1}`,
		`{X,"stream_options":{"include_usage":true}}`, `{X,"stream":true,"stream_options":7}`, `{X,"suffix":"b"}`, `{X,"best_of":5}`,
		`{X,"logit_bias":[]}`, `{X,"logit_bias":{"a":1}}`, `{X,"logit_bias":{"-1":1}}`, `{X,"logit_bias":{"999999":1}}`,
		`{X,"logit_bias":{"5":101}}`, `{X,"logit_bias":{"5":"1"}}`, `{X,"stop_token_ids":[-1]}`, `{X,"stop_token_ids":[999999]}`,
		`{X,"stop_token_ids":"a"}`, `{X,"min_tokens":-1}`, `{X,"ignore_eos":1}`, `{X`, `{X}}`, `{X} {}`, `{X,}`, `{'model':'base'}`,
		`{X,"include_stop_str_in_output":3}`},
	"/v1/chat/completions": {``, `{`, `[]`, `{}`, `{"model":"base"}`, `{"messages":[{"role":"user","content":"a"}]}`,
		`{"model":"base","messages":[]}`, `{"model":"base","messages":null}`, `{"model":"base","messages":"hello"}`,
		`{"model":"base","messages":{}}`, `{"model":"base","messages":[7]}`, `{"model":"base","messages":[{}]}`,
		`{"model":"base","messages":["a"]}`, `{"model":"base","messages":[{"role":"user"}]}`,
		`{"model":"base","messages":[{"content":"a"}]}`, `{"model":"base","messages":[{"role":"boss","content":"a"}]}`,
		`{"model":"base","messages":[{"role":"user","content":null}]}`, `{"model":"base","messages":[{"role":"user","content":7}]}`,
		`{"model":"base","messages":[{"role":"user","content":{}}]}`, `{"model":"base","messages":[{"role":1,"content":"a"}]}`,
		`{"model":"base","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x"}}]}]}`,
		`{"model":"base","messages":[{"role":"user","content":[{"type":"text"}]}]}`,
		`{"model":"base","messages":[{"role":"user","content":["a"]}]}`,
		`{"model":"base","messages":[{"role":"user","content":"a","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}]}`,
		`{"model":"base","messages":[{"role":"assistant","tool_calls":[{"function":{}}]}]}`,
		`{"model":"none","messages":[{"role":"user","content":"a"}]}`,
		`{Y,"max_tokens":0}`, `{Y,"max_tokens":-1}`, `{Y,"max_completion_tokens":0}`, `{Y,"max_completion_tokens":100000}`,
		`{Y,"max_tokens":"5"}`, `{Y,"n":0}`, `{Y,"n":200}`, `{Y,"temperature":3}`, `{Y,"top_p":2}`, `{Y,"logprobs":1}`,
		`{Y,"logprobs":true,"top_logprobs":21}`, `{Y,"logprobs":true,"top_logprobs":-1}`, `{Y,"top_logprobs":2}`,
		`{Y,"logprobs":false,"top_logprobs":2}`, `{Y,"functions":[{"name":"f"}]}`, `{Y,"tools":{}}`, `{Y,"tools":[7]}`, `{Y,"tools":[{}]}`,
		`{Y,"tools":[{"type":"code","function":{"name":"f"}}]}`, `{Y,"tools":[{"type":"function"}]}`,
		`{Y,"tools":[{"type":"function","function":{"name":""}}]}`, `{Y,"tools":[{"type":"function","function":{"name":"f","parameters":[]}}]}`,
		`{Y,"tool_choice":"required"}`, `{Y,"tool_choice":"perhaps"}`, `{Y,"tool_choice":7}`, `{Y,"tool_choice":{}}`,
		`{Y,"tool_choice":{"type":"function"}}`,
		`{Y,"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}}`,
		`{Y,"response_format":7}`, `{Y,"response_format":{"type":"json_schema"}}`,
		`{Y,"response_format":{"type":"json_schema","json_schema":{"name":"a"}}}`,
		`{Y,"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"thing"}}}}`,
		`{Y,"tools":[{"type":"function","function":{"name":"f","parameters":{"$ref":"#"}}}],"tool_choice":"required"}`, `{Y,"response_format":{}}`, `{Y,"response_format":{"type":"xml"}}`, `{Y,"response_format":"json"}`,
		`{Y,"modalities":["audio"]}`, `{Y,"stop":[1]}`, `{Y,"stream_options":{}}`, `{Y,"chat_template_kwargs":7}`,
		`{Y,"chat_template_kwargs":[]}`, `{Y,"add_generation_prompt":"no"}`, `{Y,"continue_final_message":true,"add_generation_prompt":true}`,
		`{Y,"seed":{}}`, `{Y,"logit_bias":{"0x5":1}}`, `{Y,"stream":null,"stream_options":{}}`},
	"/v1/embeddings": {``, `{}`, `{"model":"base"}`, `{"input":"a"}`, `{"model":"base","input":null}`, `{"model":"base","input":7}`,
		`{"model":"base","input":[]}`, `{"model":"base","input":[[]]}`, `{"model":"base","input":[1,"a"]}`, `{"model":"base","input":[-5]}`,
		`{"model":"base","input":{}}`, `{"model":"none","input":"a"}`, `{"model":"base","input":"a","encoding_format":"hex"}`,
		`{"model":"base","input":"a","encoding_format":7}`, `{"model":"base","input":"a","dimensions":2}`,
		`{"model":"base","input":"a","dimensions":"2"}`, `{"model":"base","input":"a","pooling":"max"}`,
		`{"model":"base","input":"a","normalize":"yes"}`},
	"/tokenize": {``, `{}`, `[]`, `{"prompt":7}`, `{"prompt":["a"]}`, `{"prompt":"a","model":"none"}`, `{"messages":[]}`, `{"messages":"a"}`,
		`{"prompt":"a","messages":[{"role":"user","content":"a"}]}`, `{"prompt":"a","add_special_tokens":"no"}`,
		`{"messages":[{"role":"x","content":"a"}]}`},
	"/detokenize": {``, `{}`, `{"tokens":null}`, `{"tokens":7}`, `{"tokens":"a"}`, `{"tokens":["a"]}`, `{"tokens":[-1]}`,
		`{"tokens":[999999]}`, `{"tokens":[1.5]}`, `{"tokens":[null]}`, `{"tokens":[1],"model":"none"}`},
}

func fill(body string) string {
	return strings.NewReplacer(`{X`, `{"model":"base","prompt":"a"`, `{Y`, `{"model":"base","messages":[{"role":"user","content":"a"}]`).
		Replace(body)
}

// refusal checks a refusal and says what is wrong with it.
func refusal(w *httptest.ResponseRecorder) string {
	var m map[string]map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
		return err.Error()
	}
	e := m["error"]
	_, hasParam := e["param"]
	_, hasCode := e["code"]
	text, _ := e["message"].(string)
	if w.Code < 400 || w.Code > 499 || text == "" || e["type"] != invalidRequest || !hasParam || !hasCode {
		return "not as OpenAI refuses"
	}
	return ""
}

// TestMalformed: what is wrong is refused, with OpenAI's body, and nothing of it reaches the engine.
func TestMalformed(t *testing.T) {
	f := newFake(t)
	s := New(f)
	n := 0
	for path, bodies := range malformed {
		for _, b := range bodies {
			n++
			w := post(s, path, fill(b))
			if wrong := refusal(w); wrong != "" {
				t.Errorf("%s %s: %d %s: %s", path, fill(b), w.Code, w.Body, wrong)
			}
		}
	}
	if n < 200 {
		t.Errorf("%d malformed requests", n)
	}
	if len(f.asks) > 0 {
		t.Errorf("%d of them reached the engine", len(f.asks))
	}
	for status, r := range map[int]*http.Request{
		404: httptest.NewRequest("GET", "/v1/nothing", nil),
		405: httptest.NewRequest("GET", "/v1/completions", nil),
		415: httptest.NewRequest("POST", "/v1/completions", strings.NewReader(fill(`{X}`))),
		403: func() *http.Request {
			r := httptest.NewRequest("POST", "/v1/completions", strings.NewReader(fill(`{X}`)))
			r.Header.Set("Origin", "http://evil.example")
			return r
		}(),
	} {
		if w := do(s, r); w.Code != status || refusal(w) != "" {
			t.Errorf("%d %s, want %d", w.Code, w.Body, status)
		}
	}
	s.Body = 50
	if w := post(s, "/v1/completions", fill(`{X}`)+strings.Repeat(" ", 90)); w.Code != 413 || refusal(w) != "" {
		t.Errorf("a long body gives %d %s", w.Code, w.Body)
	}
}

// FuzzServe: whatever a body is, it is answered, or refused with a 4xx and OpenAI's body.
func FuzzServe(f *testing.F) {
	paths := []string{"/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/tokenize", "/detokenize"}
	for i, p := range paths {
		for _, b := range malformed[p] {
			f.Add(i, fill(b))
		}
	}
	f.Add(0, fill(`{X,"stream":true,"n":2,"logprobs":2,"echo":false,"stop":["i"]}`))
	f.Add(1, fill(`{Y,"stream":true,"n":2,"logprobs":true,"top_logprobs":2}`))
	e := newFake(f)
	s := New(e)
	f.Fuzz(func(t *testing.T, i int, body string) {
		e.asks = nil
		w := post(s, paths[uint(i)%uint(len(paths))], body)
		if w.Code != 200 {
			if wrong := refusal(w); wrong != "" {
				t.Errorf("%q: %d %s: %s", body, w.Code, w.Body, wrong)
			}
		}
	})
}

// TestStreams: a stream begins with the role, holds characters and stop texts back until they are whole, and ends with the reason.
func TestStreams(t *testing.T) {
	f := newFake(t)
	s := New(f)
	for _, c := range []struct{ stop, want, reason string }{
		{`["zzz"]`, f.says, "stop"}, {`["naïve"]`, "So “it” is a — ", "stop"}, {`["text. And"]`, f.says, "stop"},
		{`["— text", "it” is"]`, "So “", "stop"}, {`null`, f.says, "stop"},
	} {
		list := events(t, post(s, "/v1/chat/completions", fill(`{Y,"stream":true,"stop":`+c.stop+`}`)))
		if dig(list[0], "choices", 0, "delta", "role") != "assistant" || dig(list[0], "choices", 0, "delta", "content") != "" {
			t.Errorf("the first event is %v", list[0])
		}
		text := ""
		for i, e := range list {
			part := answerOf(e)
			if strings.Contains(part, "\uFFFD") {
				t.Errorf("an event has a part of a character: %q", part)
			}
			text += part
			if r := dig(e, "choices", 0, "finish_reason"); (r == nil) != (i < len(list)-1) {
				t.Errorf("event %d of %d has the reason %v", i, len(list), r)
			}
		}
		if text != c.want || dig(list[len(list)-1], "choices", 0, "finish_reason") != c.reason {
			t.Errorf("with stop %s: %q, want %q", c.stop, text, c.want)
		}
		if got := answerOf(object(t, post(s, "/v1/completions", fill(`{X,"max_tokens":100,"stop":`+c.stop+`}`)))); got != c.want {
			t.Errorf("with stop %s: %q, want %q", c.stop, got, c.want)
		}
	}
	m := object(t, post(s, "/v1/completions", fill(`{X,"max_tokens":3,"n":2}`)))
	if len(m["choices"].([]any)) != 2 || dig(m, "choices", 1, "index") != 1.0 || dig(m, "choices", 1, "finish_reason") != "length" ||
		dig(m, "usage", "completion_tokens") != 6.0 {
		t.Errorf("two choices of three tokens: %v", m)
	}
	f.fails, f.after = errors.New("secret"), 2
	w := post(s, "/v1/completions", fill(`{X,"stream":true}`))
	if w.Code != 200 || !strings.Contains(w.Body.String(), `data: {"error":{`) || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("a failure in a stream: %d %s", w.Code, w.Body)
	}
	f.after = 0
	for _, c := range []struct {
		err    error
		status int
	}{{errors.New("secret"), 500}, {&Refused{"no"}, 400}, {ErrFull, 429}, {ErrClosed, 503}} {
		f.fails = c.err
		for _, stream := range []string{"true", "false"} {
			w := post(s, "/v1/completions", fill(`{X,"stream":`+stream+`}`))
			if w.Code != c.status || strings.Contains(w.Body.String(), "secret") || dig(object(t, w), "error", "message") == "" {
				t.Errorf("%v: %d %s", c.err, w.Code, w.Body)
			}
			if (w.Header().Get("Retry-After") != "") != (c.status == 429 || c.status == 503) {
				t.Errorf("%v: Retry-After is %q", c.err, w.Header().Get("Retry-After"))
			}
		}
	}
}

// TestLogProbs: the two forms of log-probabilities, and a prompt's by echo: as many entries as tokens of prompt and answer, null first.
func TestLogProbs(t *testing.T) {
	s := New(newFake(t))
	m := object(t, post(s, "/v1/completions", `{"model":"base","prompt":[[40,634,1121]],"max_tokens":2,"logprobs":2,"echo":true}`))
	l := dig(m, "choices", 0, "logprobs")
	for _, k := range []string{"tokens", "token_logprobs", "top_logprobs", "text_offset"} {
		if n := len(dig(l, k).([]any)); n != 5 {
			t.Errorf("%d %s", n, k)
		}
	}
	if dig(l, "token_logprobs", 0) != nil || dig(l, "top_logprobs", 0) != nil || dig(l, "token_logprobs", 2) != -0.5 {
		t.Errorf("%v", l)
	}
	text, _ := dig(m, "choices", 0, "text").(string)
	joined := ""
	for i := range 5 {
		token := dig(l, "tokens", i).(string)
		if at := dig(l, "text_offset", i).(float64); int(at) != characters(joined) {
			t.Errorf("token %d is at %g, not %d", i, at, characters(joined))
		}
		joined += token
		if i > 0 && dig(l, "top_logprobs", i, token) != dig(l, "token_logprobs", i) {
			t.Errorf("token %d has two numbers", i)
		}
	}
	if joined != text {
		t.Errorf("the tokens are %q, the text %q", joined, text)
	}
	m = object(t, post(s, "/v1/chat/completions", fill(`{Y,"logprobs":true,"top_logprobs":2,"max_tokens":4}`)))
	l = dig(m, "choices", 0, "logprobs", "content")
	var bytes []byte
	for i := range 4 {
		if len(dig(l, i, "top_logprobs").([]any)) != 2 {
			t.Errorf("%v", dig(l, i))
		}
		for _, b := range dig(l, i, "bytes").([]any) {
			bytes = append(bytes, byte(b.(float64)))
		}
	}
	if says := newFake(t).says; len(bytes) < 4 || !strings.HasPrefix(says, string(bytes)) {
		t.Errorf("the bytes are %q", bytes)
	}
	if dig(object(t, post(s, "/v1/chat/completions", fill(`{Y}`))), "choices", 0, "logprobs") != nil {
		t.Error("log-probabilities that nobody asked for")
	}
}

// TestKeys: a key sees its own models alone, in every place.
func TestKeys(t *testing.T) {
	f := newFake(t)
	s := New(f)
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte("# keys\nsk-all\n\nsk-team team-*, other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Keys.ReadKeys(file); err != nil {
		t.Fatal(err)
	}
	ask := func(key, model string) int {
		return post(s, "/v1/completions", `{"model":"`+model+`","prompt":"a"}`, "Authorization", key).Code
	}
	for _, c := range []struct {
		key, model string
		status     int
	}{{"Bearer sk-all", "base", 200}, {"Bearer sk-team", "team-a", 200}, {"Bearer sk-team", "base", 404}, {"Bearer sk-team", "none", 404},
		{"Bearer sk-tea", "team-a", 401}, {"", "base", 401}, {"sk-all", "base", 401}, {"Basic sk-all", "base", 401},
		{"Bearer ", "base", 401}} {
		if got := ask(c.key, c.model); got != c.status {
			t.Errorf("%q asks %s: %d, want %d", c.key, c.model, got, c.status)
		}
	}
	if a, b := post(s, "/v1/completions", `{"model":"base","prompt":"a"}`, "Authorization", "Bearer sk-team").Body.String(),
		post(s, "/v1/completions", `{"model":"bose","prompt":"a"}`, "Authorization", "Bearer sk-team").Body.String(); a !=
		strings.Replace(b, "bose", "base", 1) {
		t.Errorf("a model of others and no model get different answers: %s %s", a, b)
	}
	list := dig(object(t, get(s, "/v1/models", "Authorization", "Bearer sk-team")), "data").([]any)
	if len(list) != 1 || dig(list, 0, "id") != "team-a" || dig(list, 0, "parent") != "base" {
		t.Errorf("%v", list)
	}
	for path, status := range map[string]int{"/v1/models/team-a": 200, "/v1/models/base": 404, "/metrics": 403, "/tokenizer_info": 404,
		"/health": 200} {
		if got := get(s, path, "Authorization", "Bearer sk-team").Code; got != status {
			t.Errorf("%s: %d, want %d", path, got, status)
		}
	}
	for path, status := range map[string]int{"/health": 200, "/metrics": 401, "/v1/models": 401, "/tokenizer_info": 401} {
		if got := get(s, path).Code; got != status {
			t.Errorf("%s without a key: %d, want %d", path, got, status)
		}
	}
	if w := get(s, "/metrics", "Authorization", "Bearer sk-all"); !strings.Contains(w.Body.String(),
		`vllm:num_requests_running{model_name="base"} 2`) || !strings.Contains(w.Body.String(), `vllm:kv_cache_usage_perc{model_name="base"} 0.5`) {
		t.Errorf("%s", w.Body)
	}
}

// TestTokens: the paths of a remote tokenizer.
func TestTokens(t *testing.T) {
	s := New(newFake(t))
	m := object(t, post(s, "/tokenize", `{"prompt":"<|endoftext|>The city","add_special_tokens":false,"return_token_strs":true}`))
	if dig(m, "tokens", 0) != 0.0 || dig(m, "count") != float64(len(m["tokens"].([]any))) || dig(m, "token_strs", 0) != "<|endoftext|>" ||
		dig(m, "max_model_len") != 512.0 {
		t.Errorf("%v", m)
	}
	if got := dig(object(t, post(s, "/detokenize", string(encode(map[string]any{"tokens": m["tokens"]})))), "prompt"); got !=
		"<|endoftext|>The city" {
		t.Errorf("%v", got)
	}
	m = object(t, post(s, "/tokenize", `{"messages":[{"role":"user","content":"a"}]}`))
	if got := dig(object(t, post(s, "/detokenize", string(encode(map[string]any{"tokens": m["tokens"]})))), "prompt"); got !=
		"<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n" {
		t.Errorf("%q", got)
	}
	m = object(t, get(s, "/tokenizer_info"))
	if m["eos_token"] != "<|endoftext|>" || m["pad_token"] != "<|pad|>" || !strings.Contains(fmt.Sprint(m["chat_template"]), "im_start") {
		t.Errorf("%v", m)
	}
}

// TestVanishes: a client that goes frees its answers; a server that ends lets what is being answered end first.
func TestVanishes(t *testing.T) {
	f := newFake(t)
	f.hangs = true
	s := New(f)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l, 5*time.Second) }()
	client, gone := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(client, "POST", "http://"+l.Addr().String()+"/v1/completions",
		strings.NewReader(fill(`{X,"stream":true,"n":3}`)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	buffer := make([]byte, 10)
	if _, err := w.Body.Read(buffer); err != nil {
		t.Fatal(err)
	}
	gone()
	for i := 0; ; i++ {
		f.mu.Lock()
		n := f.closed
		f.mu.Unlock()
		if n == 3 {
			break
		}
		if i > 1000 {
			t.Fatalf("%d of 3 answers are given up", n)
		}
		time.Sleep(10 * time.Millisecond)
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := get(s, "/health").Code; got != 503 {
		t.Errorf("a server that ends is healthy: %d", got)
	}
}

// TestEchoStream: a stream that begins with its prompt has the entries of the whole answer, in its chunks one after another.
func TestEchoStream(t *testing.T) {
	s := New(newFake(t))
	for _, most := range []string{"0", "4"} {
		body := `{"model":"base","prompt":[[40,634,1121]],"max_tokens":` + most + `,"logprobs":2,"echo":true`
		l := dig(object(t, post(s, "/v1/completions", body+`}`)), "choices", 0, "logprobs")
		got := map[string][]any{}
		for _, part := range strings.Split(post(s, "/v1/completions", body+`,"stream":true}`).Body.String(), "\n\n") {
			if raw, ok := strings.CutPrefix(part, "data: {"); ok {
				var m map[string]any
				if err := json.Unmarshal([]byte("{"+raw), &m); err != nil {
					t.Fatal(err)
				}
				for _, k := range []string{"tokens", "token_logprobs", "top_logprobs", "text_offset"} {
					more, _ := dig(m, "choices", 0, "logprobs", k).([]any)
					got[k] = append(got[k], more...)
				}
			}
		}
		for k, v := range got {
			if !reflect.DeepEqual(v, dig(l, k)) || len(v) < 3 {
				t.Errorf("%s of %s tokens: %v in a stream, %v at once", k, most, v, dig(l, k))
			}
		}
	}
}

// TestTimes: what is answered is in each of the histograms, once or for each token.
func TestTimes(t *testing.T) {
	e := live(t, Options{Name: "base", Context: 64})
	s := New(e)
	ask := `{"model":"base","prompt":"The city","max_tokens":5,"temperature":0,"ignore_eos":true}`
	if w := post(s, "/v1/completions", ask); w.Code != 200 {
		t.Fatal(w.Body)
	}
	r := httptest.NewRequest("GET", "/metrics", nil)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	for name, n := range map[string]int{"time_to_first_token_seconds": 1, "inter_token_latency_seconds": 4,
		"e2e_request_latency_seconds": 1, "request_queue_time_seconds": 1} {
		want := fmt.Sprintf("vllm:%s_count{model_name=\"base\"} %d\n", name, n)
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}
