package serve

import (
	"context"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/evaluate"
)

// TestTalk: a conversation is answered by the template, and as /v1/chat/completions answers it.
func TestTalk(t *testing.T) {
	e := live(t, Options{Name: "base", Context: 96})
	v, err := e.Open("base")
	if err != nil {
		t.Fatal(err)
	}
	told := ""
	s := evaluate.Sampling{MaxNewTokens: 9}
	got, err := Talk(context.Background(), e, v, []Turn{{Role: "user", Content: "a"}}, s, nil, func(s string) { told += s })
	if err != nil {
		t.Fatal(err)
	}
	want := answerOf(object(t, post(New(e), "/v1/chat/completions", fill(`{Y,"temperature":0,"max_tokens":9}`))))
	if got != want || told != got || got == "" {
		t.Errorf("%q, told %q, want %q", got, told, want)
	}
	long := []Turn{{Role: "user", Content: strings.Repeat("a b c ", 90)}}
	if _, err := Talk(context.Background(), e, v, long, s, nil, func(string) {}); err == nil {
		t.Error("a conversation that is longer than the context is answered")
	}
}
