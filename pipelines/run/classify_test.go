package run

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/templates"
)

// TestClassification runs the template on rows of three classes that a word decides, with a class that only the held-out texts have and a
// row without one.
func TestClassification(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, rows [][]string) string {
		path := filepath.Join(dir, name)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := csv.NewWriter(f).WriteAll(append([][]string{{"body", "kind"}}, rows...)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	words := []string{"river", "engine", "music"}
	names := []string{"2", "10", "-1"}
	rows := func(n, from int) (out [][]string) {
		for i := range n {
			out = append(out, []string{fmt.Sprintf("Please tell me, number %d,\nabout the %s of today", from+i*7, words[i%3]), names[i%3]})
		}
		return out
	}
	train := write("train.csv", append(rows(60, 0), []string{"nothing", ""}))
	valid := write("valid.csv", append(rows(15, 1000), []string{"a class of its own", "99"}))
	tpl, err := templates.Get("classification")
	if err != nil {
		t.Fatal(err)
	}
	rec, err := tpl.Resolve("", nil, []string{"input=" + train, "eval_input=" + valid, "text_column=body", "label_column=kind",
		"sequence_length=48", "steps=12", "batch_size=4"})
	if err != nil {
		t.Fatal(err)
	}
	r := &Run{Recipe: rec, Output: filepath.Join(dir, "out")}
	if err := r.Open(); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	m, err := r.All(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	c := m.Eval.Classes
	if c == nil || c.After.Documents != 15 || fmt.Sprint(c.After.Labels) != "[-1 2 10]" || m.Data.Rejected["wrong_row"] != 1 ||
		m.Data.Kept != 60 {
		t.Fatalf("%+v, %v", c, m.Data)
	}
	if c.After.Accuracy < 0.9 || c.After.MacroF1 < 0.9 || c.Before.Accuracy > 0.8 || c.After.Loss >= c.Before.Loss {
		t.Errorf("before %+v, after %+v", c.Before, c.After)
	}
	var out strings.Builder
	m.Table(&out, "out")
	page, err := os.ReadFile(filepath.Join(r.Output, report.File))
	if err != nil || !strings.Contains(out.String(), "macro F1") || strings.Contains(out.String(), "perplexity") ||
		!strings.Contains(string(page), "macro F1") {
		t.Errorf("%v\n%s", err, &out)
	}
	raw, err := os.ReadFile(filepath.Join(r.Output, AdapterDir, "adapter_config.json"))
	var config struct {
		Task string   `json:"task_type"`
		Save []string `json:"modules_to_save"`
	}
	if err != nil || json.Unmarshal(raw, &config) != nil || config.Task != "SEQ_CLS" || len(config.Save) == 0 {
		t.Errorf("%v %s", err, raw)
	}
	if got, err := peft.ClassNames(filepath.Join(r.Output, AdapterDir)); err != nil || fmt.Sprint(got) != "[-1 2 10]" {
		t.Errorf("names %v, %v", got, err)
	}
	if n, err := countClasses(rec); err != nil || n != 3 {
		t.Errorf("%d classes, %v", n, err)
	}
	if err := infer.Merge(r.modelDir, filepath.Join(r.Output, AdapterDir), filepath.Join(dir, "merged"), "float32", 1); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "merged", "config.json")); err != nil || !strings.Contains(string(raw), `"10": 2`) {
		t.Errorf("%v %s", err, raw)
	}
}
