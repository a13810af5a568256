package serve

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/peft/pefttest"
	"github.com/adaptflow/adaptflow/tokenize"
)

// headOf writes an adapter with a head of so many classes, whose values are drawn with a seed.
func headOf(t *testing.T, to, base string, classes, seed int) {
	t.Helper()
	m, err := model.LoadTask(base, "float32", model.Task{Type: "SEQ_CLS", NumLabels: classes, Seed: uint64(seed)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	pefttest.Save(t, to, "LORA", map[string]any{"r": 2, "target_modules": []string{"q_proj"}, "task_type": "SEQ_CLS"}, nn.Sites(m),
		peft.Env{ModelType: m.Config.ModelType}, seed)
}

// TestScores: a classifier gives the class that it gives elsewhere, a reward one number; neither has words, a model of words has no scores,
// and a key gets those of its own adapters alone.
func TestScores(t *testing.T) {
	base, dir := embedded(t), t.TempDir()
	headOf(t, filepath.Join(dir, "classes"), base, 3, 1)
	headOf(t, filepath.Join(dir, "reward"), base, 1, 2)
	adapter(t, filepath.Join(dir, "words"), base, "LORA", small, 3)
	texts := []string{"The city was built on a hill.", "She", "How much is the fish?"}
	many, err := infer.HoldMany(base, "", tokenize.Ends{}, 1, func(name string) (string, error) { return filepath.Join(dir, name), nil })
	if err != nil {
		t.Fatal(err)
	}
	defer many.Close()
	var qs []infer.Question
	for _, text := range texts {
		qs = append(qs, infer.Question{Adapter: "classes", Text: text})
	}
	want, refused, err := many.Classify(context.Background(), qs)
	if err != nil || len(refused) > 0 && refused[0] != nil {
		t.Fatal(err, refused)
	}
	e := live(t, Options{Name: "base", Context: 64, Adapters: Folders{Dir: dir,
		Named: []infer.Named{{Name: "named", Dir: filepath.Join(dir, "reward")}}}})
	s := New(e)
	if err := s.Keys.Add("all"); err != nil {
		t.Fatal(err)
	}
	if err := s.Keys.Add("some", "reward"); err != nil {
		t.Fatal(err)
	}
	list := `["` + strings.Join(texts, `","`) + `"]`
	m := object(t, post(s, "/v1/score", `{"model":"classes","input":`+list+`}`, "Authorization", "Bearer all"))
	for i, w := range want {
		d := dig(m, "data", i)
		if dig(d, "index") != float64(i) || dig(d, "label") != w.Name {
			t.Errorf("%v, want %+v", d, w)
			continue
		}
		for k, p := range w.Probabilities {
			if got := dig(d, "probs", k).(float64); math.Abs(got-p) > 1e-6 || k == w.Class && got != dig(d, "score") {
				t.Errorf("class %d of text %d: %g, want %g", k, i, got, p)
			}
		}
	}
	whole := object(t, post(s, "/v1/score", `{"model":"reward","input":["How much is the fish?"]}`, "Authorization", "Bearer some"))
	pair := object(t, post(s, "/v1/score", `{"model":"named","text_1":"How much ","text_2":["is the fish?","was it?"]}`,
		"Authorization", "Bearer all"))
	if x := dig(whole, "data", 0, "score"); x != dig(pair, "data", 0, "score") || x == dig(pair, "data", 1, "score") || x == 0.0 ||
		dig(whole, "data", 0, "label") != nil {
		t.Errorf("%v, and as a pair %v", whole, pair)
	}
	for _, c := range []struct {
		key, path, body string
		status          int
	}{
		{"some", "/v1/score", `{"model":"classes","input":"x"}`, 404}, {"all", "/v1/score", `{"model":"words","input":"x"}`, 400},
		{"all", "/v1/score", `{"model":"base","input":"x"}`, 400}, {"all", "/v1/score", `{"model":"none","input":"x"}`, 404},
		{"all", "/v1/score", `{"model":"classes"}`, 400}, {"all", "/v1/score", `{"input":"x"}`, 400},
		{"all", "/v1/score", `{"model":"classes","text_1":"x"}`, 400}, {"all", "/v1/score", `{"model":"classes","input":[[99999]]}`, 400},
		{"all", "/v1/score", `{"model":"classes","input":"` + strings.Repeat("a b c ", 40) + `"}`, 400},
		{"all", "/v1/completions", `{"model":"classes","prompt":"x"}`, 400},
	} {
		w := post(s, c.path, c.body, "Authorization", "Bearer "+c.key)
		if w.Code != c.status || strings.Contains(w.Body.String(), dir) {
			t.Errorf("%s %s: %d %s", c.path, c.body, w.Code, w.Body)
		}
	}
}
