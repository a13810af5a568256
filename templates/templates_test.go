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
	r, err := tpl.Resolve("r.yaml", []byte("train:\n  learning_rate: 0.1\nmethod:\n  lora_dropout: 0.5\n"), []string{"steps=3", "rank=4",
		"save_steps=5", "learning_rate=0.2"})
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
	if r, err = tpl.Resolve("", nil, []string{"input=a.txt", "epochs=2"}); err != nil || len(r.Data.EvalInput) != 0 ||
		len(r.Evaluate.Prompts) != 0 || r.Train.MaxSteps != -1 {
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
	if err != nil || len(r.Data.Sources) != 2 || r.Data.Temperature != 3.33 || r.Data.Held() {
		t.Errorf("%+v %v", r, err)
	}
	if r, err = many.Resolve("", nil, []string{"input=a.txt"}); err != nil || len(r.Data.Sources) != 0 || r.Data.Temperature != 0 {
		t.Errorf("%+v %v", r, err)
	}
	one, err := Get("instruction-tuning")
	if err != nil {
		t.Fatal(err)
	}
	if r, err = one.Defaults(); err != nil || r.Evaluate.AnswerMatch != "number" {
		t.Errorf("%+v %v", r, err)
	}
	if r, err = one.Resolve("", nil, []string{"languages={sw: a.jsonl}"}); err != nil ||
		len(r.Data.Input)+len(r.Data.EvalInput)+len(r.Data.Columns) != 0 || r.Evaluate.AnswerMatch != "squad" {
		t.Errorf("%+v %v", r, err)
	}
}

// TestHashesStay: a template's recipe keeps its hash, by which its output folder is found again (printed by the program before its sections
// became their owners' types).
func TestHashesStay(t *testing.T) {
	want := map[string]string{
		"classification":          "5960b9faa874de75961b585900be3f3c1d8a1e9fb43c4e8adad24d298e851cad",
		"domain-adaptation":       "3cb95f4e88e61f96ac11358a96fe9d74a03f33ec9b6e5ed376248e53bf7e641c",
		"continued-pretraining":   "1c8d0e63659397a58f323362431afea038a293fb02d7be44c314240b2288cf8a",
		"distillation":            "08e7601189ccea6188da0c7d73b9e161d1db066ea017b459b5390d9ff5eceda6",
		"continual-learning":      "aca952be77bb35500f8dea6b7563fcde93f6109e17f660fede7344b7b893db32",
		"compare-methods":         "c163ad51c2bc082458c059aa59e519a57bb882208d24fd898b200a872a54a3fc",
		"personal-assistants":     "8771239b5e83ad69818c96fd29523ce6874f50f36c6a4d9e658aa54186136fdc",
		"instruction-tuning":      "8570d9844587515295440d884e05a10fe12c57a83064dd5ca158d7a0a1588086",
		"multilingual-adaptation": "10049a2334eb7bf83e6176a5d9627df4d7fa1785441644efcc733b470745e7c2",
	}
	for _, tpl := range List() {
		r, err := tpl.Defaults()
		if err != nil {
			t.Fatal(err)
		}
		if w, ok := want[tpl.Name]; ok && r.Hash() != w {
			t.Errorf("%s: hash %s, want %s", tpl.Name, r.Hash(), w)
		}
	}
}

// TestOwnModel: a model of the user's own decides what a template has for its small one, unless the user does; embedded models keep it.
func TestOwnModel(t *testing.T) {
	for _, c := range []struct {
		template, set, auto string
		dtype               string
	}{
		{"domain-adaptation", "", "", "float32"},
		{"domain-adaptation", "model=embedded:lm-en-5m", "", "float32"},
		{"domain-adaptation", "model=m", "train.learning_rate", "auto"},
		{"domain-adaptation", "model=m learning_rate=0.1", "", "auto"},
		{"domain-adaptation", "model=m dtype=float32", "train.learning_rate", "float32"},
		{"domain-adaptation", "model=m objective=orpo", "train.learning_rate prepare.apply_chat_template", "auto"},
		{"preference-tuning", "model=m", "train.learning_rate prepare.apply_chat_template", "auto"},
		{"preference-tuning", "model=m apply_chat_template=false", "train.learning_rate", "auto"},
		{"compare-methods", "model=m", "train.learning_rate compare.learning_rates", "auto"},
		{"compare-methods", "model=m learning_rate=0.1", "", "auto"},
		{"instruction-tuning", "model=m", "train.learning_rate", "auto"},
	} {
		tpl, err := Get(c.template)
		if err != nil {
			t.Fatal(err)
		}
		r, err := tpl.Resolve("", nil, strings.Fields(c.set))
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if got := strings.Join(r.Auto, " "); got != c.auto || r.Model.DType != c.dtype {
			t.Errorf("%+v: left to the model: %q, dtype %s", c, got, r.Model.DType)
		}
		if def, err := tpl.Defaults(); err != nil || c.template == "domain-adaptation" && r.Train.Objective == "" && c.auto == "" &&
			c.dtype == "float32" && r.Hash() != def.Hash() {
			t.Errorf("%+v: another recipe than the template's: %v", c, err)
		}
	}
}
