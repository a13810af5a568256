package run

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/train"
)

// What is wrong with a teacher shows when the run opens, by the key of the recipe, and leaves nothing.
func TestTeachersThatAreRefused(t *testing.T) {
	for _, c := range []struct{ teacher, want string }{
		{"nowhere", "nowhere"},
		{filepath.Join("..", "..", "tokenize", "testdata", "tokenizer"), "config.json"},
		{filepath.Join("..", "..", "model", "testdata", "models", "llama_tied"), "128 positions"},
		{otherTokens(t), "a teacher must have the same tokenizer"},
	} {
		rec := recipeOf(t, "teacher="+c.teacher, "sequence_length=200")
		out := filepath.Join(t.TempDir(), "out")
		r := &Run{Recipe: rec, Output: out, Say: t.Logf}
		err := r.Open()
		r.Close()
		if err == nil || !strings.Contains(err.Error(), "train.teacher_model_name_or_path") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to say %q", c.teacher, err, c.want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: %s was made", c.teacher, out)
		}
	}
}

// otherTokens is a copy of the embedded model in whose tokenizer two tokens have changed places.
func otherTokens(t *testing.T) string {
	base, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tokenizer.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	swapped := strings.NewReplacer(`"a": 68`, `"a": 69`, `"b": 69`, `"b": 68`, `"a":68`, `"a":69`, `"b":69`, `"b":68`).Replace(string(text))
	if swapped == string(text) {
		t.Fatal("no tokens have changed places")
	}
	if err := os.WriteFile(path, []byte(swapped), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The plan counts what teachers take.
func TestPlanOfTeachers(t *testing.T) {
	plan := func(settings ...string) *Plan {
		p, err := MakePlan(recipeOf(t, settings...))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	none, one := plan(), plan("teacher=embedded:lm-en-5m")
	dir, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	base, err := train.Base(dir, "float32")
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	if one.Teachers > 2*48*4096*4*3+base.Resident()/2 { // targets, logits, activations; no weights beside the base's
		t.Errorf("the base as its own teacher takes %d bytes, its weights are %d", one.Teachers, base.Resident())
	}
	if none.Teachers != 0 || one.Teachers < 2*48*4096*4 || one.Peak-none.Peak != one.Teachers {
		t.Errorf("teachers take %d and %d bytes, the peaks are %d and %d", none.Teachers, one.Teachers, none.Peak, one.Peak)
	}
}

// recipeOf is a small recipe of one adapter with these settings.
func recipeOf(t *testing.T, settings ...string) *recipe.Recipe {
	t.Helper()
	tp, err := templates.Get("domain-adaptation")
	if err != nil {
		t.Fatal(err)
	}
	rec, err := tp.Resolve("", nil, append([]string{"sequence_length=48", "max_steps=4", "warmup_steps=1", "batch_size=2"}, settings...))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}
