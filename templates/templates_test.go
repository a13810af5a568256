package templates

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestTemplates(t *testing.T) {
	for _, tpl := range List() {
		r, err := tpl.Defaults()
		if err != nil {
			t.Fatalf("%s: %v", tpl.Name, err)
		}
		ps, err := tpl.Parameters()
		if err != nil {
			t.Fatal(err)
		}
		if len(ps) < 17 || tpl.Summary == "" {
			t.Errorf("%s: %d parameters", tpl.Name, len(ps))
		}
		for _, p := range ps {
			if p.Type == "" || p.Help == "" || p.Default == nil {
				t.Errorf("%s: parameter %+v is incomplete", tpl.Name, p)
			}
		}
		for _, f := range []func() ([]byte, error){tpl.Schema, tpl.Dataflow} {
			b, err := f()
			var v map[string]any
			if err != nil || json.Unmarshal(b, &v) != nil || !strings.Contains(string(b), "learning_rate") {
				t.Errorf("%s: %v\n%s", tpl.Name, err, b)
			}
		}
		if r.Hash() == "" {
			t.Error("no hash")
		}
	}
	if _, err := Get("domain-adaption"); err == nil || !strings.Contains(err.Error(), `"domain-adaptation"`) {
		t.Errorf("misspelt template: %v", err)
	}
}

func TestResolve(t *testing.T) {
	tpl, err := Get("domain-adaptation")
	if err != nil {
		t.Fatal(err)
	}
	r, err := tpl.Resolve("r.yaml", []byte("train:\n  learning_rate: 0.1\nmethod:\n  lora_dropout: 0.5\n"), []string{"steps=3", "rank=4", "save_steps=5", "learning_rate=0.2"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Train.MaxSteps != 3 || r.Train.SaveSteps != 5 || r.Train.LearningRate != 0.2 || len(r.Data.EvalInput) != 1 {
		t.Errorf("%+v", r)
	}
	m, err := json.Marshal(r.Method)
	if err != nil || string(m) != `{"lora_alpha":16,"lora_dropout":0.5,"peft_type":"LORA","r":4,"target_modules":"all-linear"}` {
		t.Errorf("method %s %v", m, err)
	}
	if r, err = tpl.Resolve("", nil, []string{"input=a.txt", "epochs=2"}); err != nil || len(r.Data.EvalInput) != 0 || len(r.Evaluate.Prompts) != 0 || r.Train.MaxSteps != -1 {
		t.Errorf("own input keeps the template's held-out text: %+v %v", r, err)
	}
	for _, c := range []struct{ set, want string }{
		{"stepz=3", `nearest known one is "steps"`},
		{"steps", "no value"},
		{"steps=x", "integer"},
		{"rank=8,epochs", ""},
	} {
		if _, err := tpl.Resolve("", nil, []string{c.set}); c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.set, err)
		}
	}
	if _, err := tpl.Resolve("", nil, []string{"steps=3", "epochs=3"}); err == nil {
		t.Error("steps and epochs together")
	}
}

// TestOwnSources: named sources of the user's own replace the template's input and held-out text, and the other way round.
func TestOwnSources(t *testing.T) {
	many, err := Get("multilingual-adaptation")
	if err != nil {
		t.Fatal(err)
	}
	r, err := many.Resolve("", nil, []string{"languages={sw: a.txt, en-sw: {input: p.tsv, translation: [en, sw]}}"})
	if err != nil || len(r.Data.Sources) != 2 || r.Data.SamplingTemperature != 3.33 || r.Data.Held() {
		t.Errorf("%+v %v", r, err)
	}
	if r, err = many.Resolve("", nil, []string{"input=a.txt"}); err != nil || len(r.Data.Sources) != 0 || r.Data.SamplingTemperature != 0 {
		t.Errorf("%+v %v", r, err)
	}
	one, err := Get("instruction-tuning")
	if err != nil {
		t.Fatal(err)
	}
	if r, err = one.Defaults(); err != nil || r.Evaluate.AnswerMatch != "number" {
		t.Errorf("%+v %v", r, err)
	}
	if r, err = one.Resolve("", nil, []string{"languages={sw: a.jsonl}"}); err != nil || len(r.Data.Input)+len(r.Data.EvalInput)+len(r.Data.Columns) != 0 || r.Evaluate.AnswerMatch != "squad" {
		t.Errorf("%+v %v", r, err)
	}
}
