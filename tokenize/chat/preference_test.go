package chat

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/tokenize"
)

// TestGoldenAnswers: over the golden folder that ADAPTFLOW_GOLDEN names, prompts and answers have the ids of TRL's DPOTrainer.
func TestGoldenAnswers(t *testing.T) {
	root := golden.Root(t, "testdata")
	path := filepath.Join(root, "trl", "preference_tokenisation", "lm-en-5m.json")
	base := filepath.Join(root, "..", "models", "lm-en-5m")
	for _, p := range []string{path, filepath.Join(base, "tokenizer.json")} {
		if _, err := os.Stat(p); err != nil {
			t.Skip(err)
		}
	}
	type ids struct {
		Prompt   json.RawMessage
		Chosen   json.RawMessage
		Rejected json.RawMessage
		P        []int32 `json:"prompt_ids"`
		C        []int32 `json:"chosen_ids"`
		R        []int32 `json:"rejected_ids"`
	}
	doc := golden.JSON[struct {
		Groups []struct {
			Name     string
			Template string `json:"chat_template"`
			Rows     []struct {
				Tools  json.RawMessage
				Kwargs json.RawMessage `json:"chat_template_kwargs"`
			}
			Kept     []int `json:"kept_rows"`
			Prepared []ids
		}
	}](t, path)
	tk, err := tokenize.Load(base)
	if err != nil {
		t.Fatal(err)
	}
	own, err := Load(base)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range doc.Groups {
		for i, want := range g.Prepared {
			var got *Answers
			if want.Prompt[0] == '"' {
				var s [3]string
				for k, raw := range []json.RawMessage{want.Prompt, want.Chosen, want.Rejected} {
					if err := json.Unmarshal(raw, &s[k]); err != nil {
						t.Fatal(err)
					}
				}
				got, err = PlainAnswers(tk, s[0], s[1:])
			} else {
				set := own
				if g.Template != "" {
					x, err := New(g.Template, map[string]string{"eos_token": "<|endoftext|>"})
					if err != nil {
						t.Fatal(err)
					}
					set = Set{"default": x}
				}
				row := g.Rows[g.Kept[i]]
				c := Conversation{Tools: row.Tools, Kwargs: row.Kwargs}
				var text string
				if json.Unmarshal(row.Tools, &text) == nil {
					c.Tools = json.RawMessage(text)
				}
				x, err2 := set.Pick("", len(c.Tools) > 0)
				if err2 != nil {
					t.Fatal(err2)
				}
				got, err = x.Answers(tk, want.Prompt, []json.RawMessage{want.Chosen, want.Rejected}, c)
			}
			if err != nil {
				t.Errorf("%s, row %d: %v", g.Name, i, err)
				continue
			}
			n++
			if !slices.Equal(got.Prompt, want.P) || !slices.Equal(got.Answers[0], want.C) || !slices.Equal(got.Answers[1], want.R) {
				t.Errorf("%s, row %d: %v, TRL %v %v %v", g.Name, i, *got, want.P, want.C, want.R)
			}
		}
	}
	if n < 40 {
		t.Errorf("%d rows", n)
	}
}
