package infer

import (
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/evaluate"
)

// TestContinueStops: a stop text ends a continuation before itself, and what comes in pieces is its text.
func TestContinueStops(t *testing.T) {
	m := embedded(t)
	prompt := "The city was built on a hill and the"
	whole, err := m.Generate(prompt, evaluate.Sampling{MaxNewTokens: 24}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if whole.Finish != "length" || len(whole.IDs) != 24 {
		t.Fatalf("%+v", whole)
	}
	stop := strings.Fields(whole.Text)[3]
	ids, err := m.Prompt(prompt)
	if err != nil {
		t.Fatal(err)
	}
	told := ""
	got, err := m.Continue(ids, evaluate.Sampling{MaxNewTokens: 24}, []string{"\x00", stop}, func(s string) { told += s })
	if err != nil {
		t.Fatal(err)
	}
	if want, _, _ := strings.Cut(whole.Text, stop); got.Text != want || told != want || got.Finish != "stop" || len(got.IDs) >= 24 {
		t.Errorf("%+v, told %q; %q stops %q", got, told, stop, whole.Text)
	}
}

// TestChatPrompt: the model's template goes around what is said, and the assistant's turn is open.
func TestChatPrompt(t *testing.T) {
	m := embedded(t)
	ids, err := m.ChatPrompt("", Turn{Role: "system", Content: "Be brief."}, Turn{Role: "user", Content: "Hello"})
	if err != nil {
		t.Fatal(err)
	}
	tk, _, err := m.Text()
	if err != nil {
		t.Fatal(err)
	}
	want := "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
	if got := tk.Decode(ids, false); got != want {
		t.Errorf("%q", got)
	}
}
