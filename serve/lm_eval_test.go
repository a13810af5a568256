package serve

import (
	"encoding/json"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
)

// TestLmEval: what the real lm-evaluation-harness asked of a server that answered with transformers is answered alike: as many
// log-probabilities, null where they are; and of the same model, which lies beside the folder that ADAPTFLOW_GOLDEN names, within 1e-3,
// with the same greedy tokens and the same texts. The embedded model is another of its shape and tokenizer.
func TestLmEval(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "lm_eval.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Kind, Method, Path string
		Request            json.RawMessage
		Response           any
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	same := filepath.Join(golden.Root(t, "testdata"), "..", "models", "lm-en-5m")
	if _, err := os.Stat(same); err != nil {
		same = ""
	}
	s := New(live(t, Options{Model: same, Name: "lm-en-5m"}))
	scores := 0
	for _, x := range list {
		w := do(s, httptest.NewRequest(x.Method, x.Path, strings.NewReader(string(x.Request))), "Content-Type", "application/json",
			"Authorization", "Bearer ")
		if w.Code != 200 {
			t.Errorf("%s: %d %s", x.Kind, w.Code, w.Body)
			continue
		}
		got := object(t, w)
		want, ok := x.Response.(map[string]any)
		if !ok {
			t.Errorf("%s: the recorded answer is %v", x.Kind, x.Response)
			continue
		}
		switch x.Path {
		case "/tokenize":
			if string(encode(got["tokens"])) != string(encode(want["tokens"])) {
				t.Errorf("%s: tokens %v, want %v", x.Kind, got["tokens"], want["tokens"])
			}
			continue
		case "/detokenize":
			if got["prompt"] != want["prompt"] {
				t.Errorf("%s: %v, want %v", x.Kind, got["prompt"], want["prompt"])
			}
			continue
		case "/tokenizer_info":
			for _, k := range []string{"eos_token", "bos_token", "pad_token", "chat_template"} {
				if got[k] != want[k] {
					t.Errorf("%s: %s is %v, want %v", x.Kind, k, got[k], want[k])
				}
			}
			continue
		}
		choices, _ := want["choices"].([]any)
		for i := range choices {
			if a, b := answerOf(map[string]any{"choices": []any{dig(got, "choices", i)}}),
				answerOf(map[string]any{"choices": []any{choices[i]}}); a != b && same != "" {
				t.Errorf("%s: choice %d is %q, want %q", x.Kind, i, a, b)
			}
			a, _ := dig(got, "choices", i, "logprobs", "token_logprobs").([]any)
			b, _ := dig(choices[i], "logprobs", "token_logprobs").([]any)
			if len(a) != len(b) {
				t.Errorf("%s: choice %d has %d log-probabilities, want %d", x.Kind, i, len(a), len(b))
				continue
			}
			for k := range b {
				p, ok := a[k].(float64)
				q, is := b[k].(float64)
				if ok != is || math.Abs(p-q) > 1e-3 && same != "" {
					t.Errorf("%s: the log-probability of token %d of choice %d is %v, want %v", x.Kind, k, i, a[k], b[k])
				}
				if is && same != "" && greedy(dig(got, "choices", i, "logprobs"), k) != greedy(dig(choices[i], "logprobs"), k) {
					t.Errorf("%s: token %d of choice %d is the likeliest in one and not in the other", x.Kind, k, i)
				}
				scores++
			}
		}
	}
	if scores < 100 {
		t.Errorf("%d log-probabilities", scores)
	}
}

// greedy is how the harness finds that a token is the likeliest.
func greedy(l any, k int) bool {
	best := math.Inf(-1)
	m, _ := dig(l, "top_logprobs", k).(map[string]any)
	for _, v := range m {
		best = max(best, v.(float64))
	}
	return dig(l, "token_logprobs", k) == best
}
