package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/safetensors"
)

// TestNoNumber: an evaluation set in which nothing has a loss is null with the reason in metrics, table and report; a base whose values are
// not finite is an error that names where, of every command; numbers of config.json out of range are refused by name.
func TestNoNumber(t *testing.T) {
	b := &desk{t, t.TempDir()}
	long := strings.Repeat("a long question ", 60)
	rows := b.file("rows.jsonl", `{"prompt": "what is open?", "completion": "a call"}`+"\n"+
		`{"prompt": "what is read?", "completion": "another call"}`+"\n")
	silent := b.file("silent.jsonl", `{"prompt": "`+long+`", "completion": "yes"}`+"\n")
	out := b.path("out")
	args := append([]string{"run", "instruction-tuning", "--output", out},
		set("input="+rows, "sequence_length=32", "batch_size=2", "exact_match=0")...)
	args = append(args, "--set", "eval_input="+silent)
	code, stdout, stderr := ended(t, adaptflow(args...))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	const why = "no token of its 1 records has a loss (tokenize.nothing_to_learn 1)"
	page, _ := os.ReadFile(filepath.Join(out, "report.html"))
	for name, text := range map[string]string{"table": stdout + stderr, "report": string(page)} {
		if !strings.Contains(text, "no perplexity: "+why) || strings.Contains(text, "NaN") {
			t.Errorf("the %s does not say why there is no perplexity: %s", name, text)
		}
	}
	raw, err := os.ReadFile(filepath.Join(out, "metrics.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Eval struct {
			Domain struct{ Before, After map[string]any }
		}
		Data struct {
			Eval struct{ Rejected map[string]int } `json:"eval_input"`
		}
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	for _, s := range []map[string]any{m.Eval.Domain.Before, m.Eval.Domain.After} {
		if v, there := s["perplexity"]; !there || v != nil || s["nll"] != nil || s["reason"] != why {
			t.Errorf("%v", s)
		}
	}
	if m.Data.Eval.Rejected["tokenize.nothing_to_learn"] != 1 {
		t.Errorf("the rejected record is not counted: %s", raw)
	}
	// A model whose third layer overflows.
	dir := b.model(func(dir string) {
		path := filepath.Join(dir, "model.safetensors")
		f, err := safetensors.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var ts []safetensors.Tensor
		for _, name := range f.Names() {
			x, err := f.Float32(name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(name, "layers.2.mlp") {
				for i := range x {
					x[i] *= 1e20
				}
			}
			info, _ := f.Info(name)
			ts = append(ts, safetensors.F32(name, x, info.Shape...))
		}
		if err := safetensors.Write(path+".new", ts, map[string]string{"format": "pt"}); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	})
	corpus := b.corpus(20)
	recipe := append(set("model="+dir, "input="+corpus, "sequence_length=32"), "--set", "eval_input="+rows, "--output")
	for name, args := range map[string][]string{
		"run":      append(append([]string{"run", "domain-adaptation"}, recipe...), b.path("nan-run")),
		"evaluate": append(append([]string{"evaluate", "domain-adaptation"}, recipe...), b.path("nan-evaluate")),
		"train":    append(append([]string{"train", "domain-adaptation"}, recipe...), b.path("nan-train")),
		"generate": {"generate", "--model", dir, "--prompt", "The file"},
	} {
		code, _, stderr := ended(t, adaptflow(args...))
		if line := errorLine(t, stderr); code != 1 || !strings.Contains(line, "not finite") ||
			!strings.Contains(line, "model.layers.2.mlp") {
			t.Errorf("%s: exit code %d: %s", name, code, line)
		}
	}
}

// TestSourceWithoutNumber: a named source of whose held-out text nothing has a loss is in the table and in metrics.json, with the reason,
// beside the others.
func TestSourceWithoutNumber(t *testing.T) {
	b := &desk{t, t.TempDir()}
	one, two, none := b.corpus(20), b.file("two.jsonl", strings.Repeat(`{"text": "other words of another language"}`+"\n", 8)),
		b.file("none.jsonl", `{"text": "x"}`+"\n")
	out := b.path("out")
	args := append([]string{"run", "domain-adaptation", "--output", out},
		set("sequence_length=32", "steps=1", "batch_size=2", "prepare.add_eos=false", "input=", "eval_input=")...)
	args = append(args, "--set", "languages={a: {input: ["+one+"], eval_input: ["+none+"]}, b: {input: ["+two+"], eval_input: ["+
		b.file("held.jsonl", `{"text": "held out words"}`+"\n")+"]}}")
	code, stdout, stderr := ended(t, adaptflow(args...))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if text := stdout + stderr; !strings.Contains(text, "no perplexity: no token of its held-out records has a loss") ||
		strings.Contains(text, "NaN") {
		t.Error(text)
	}
	// All sources, and what goes by the loss on them.
	all := append(set("sequence_length=32", "steps=1", "batch_size=2", "prepare.add_eos=false", "input=", "eval_input="), "--set",
		"languages={a: {input: ["+one+"], eval_input: ["+none+"]}, b: {input: ["+two+"], eval_input: ["+
			b.file("none2.jsonl", `{"text": "y"}`+"\n")+"]}}")
	code, stdout, stderr = ended(t, adaptflow(append([]string{"run", "domain-adaptation", "--output", b.path("none")}, all...)...))
	if text := stdout + stderr; code != 0 || !strings.Contains(text, "no perplexity: no token of its 2 records has a loss") {
		t.Errorf("exit code %d: %s", code, text)
	}
	best := set("train.load_best_model_at_end=true", "train.eval_steps=1", "train.save_steps=1")
	code, _, stderr = ended(t, adaptflow(append(append([]string{"run", "domain-adaptation", "--output", b.path("best")}, all...),
		best[:6]...)...))
	if line := errorLine(t, stderr); code != 1 || !strings.Contains(line, "load_best_model_at_end") {
		t.Errorf("exit code %d: %s", code, line)
	}
	raw, err := os.ReadFile(filepath.Join(out, "metrics.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Eval struct {
			Sources []struct {
				Name   string
				Before map[string]any
			}
		}
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	s := m.Eval.Sources
	if len(s) != 2 || s[0].Name != "a" || s[0].Before["perplexity"] != nil || s[0].Before["reason"] == "" ||
		s[1].Before["perplexity"] == nil {
		t.Errorf("%+v", s)
	}
}

// TestDiverged: a training whose adapted model is not finite is said so, with what to do: of a run, of the one key that it befell, of each
// method compared.
func TestDiverged(t *testing.T) {
	b := &desk{t, t.TempDir()}
	corpus := b.corpus(20)
	rows := b.file("keys.jsonl", strings.Repeat(`{"text": "the words of one key, of which there are some", "user": "a"}`+"\n", 4))
	wild := func(more ...string) []string {
		return append(set(append(more, "sequence_length=32", "batch_size=2", "train.warmup_steps=0", "train.max_grad_norm=0")...),
			"--set", "steps=1")
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{append([]string{"run", "domain-adaptation", "--set", "learning_rate=1e18", "--output", b.path("da")},
			append(wild("input="+corpus), "--set", "eval_input="+corpus)...), 1, "lower learning_rate"},
		{append([]string{"run", "personal-assistants", "--set", "learning_rate=1e18", "--output", b.path("keys")},
			append(wild("input="+rows, "key_column=user", "min_sequences=1"), "--set", "eval_input="+rows)...), 1,
			"no key was trained of 1 (the model scores NaN"},
		{append([]string{"run", "compare-methods", "--output", b.path("compare")},
			append(wild("input="+corpus, "methods=LORA", "compare.learning_rates=[1e18]"), "--set", "eval_input="+corpus)...), 0,
			"diverged at every learning rate"},
	} {
		code, stdout, stderr := ended(t, adaptflow(c.args...))
		if text := stdout + stderr; code != c.code || !strings.Contains(text, c.want) || strings.Contains(text, "NaN %") {
			t.Errorf("%s: exit code %d: %s", c.args[1], code, text)
		}
	}
}
