package run

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/templates"
)

// TestGGUFInReport: the run that writes a GGUF file measures it on held-out text beside the model that it stores, whose perplexity is that
// of the run's own measure; table and report say both.
func TestGGUFInReport(t *testing.T) {
	dir := t.TempDir()
	rows := func(name string, n, from int) string {
		var b strings.Builder
		for i := range n {
			row, err := json.Marshal(map[string]string{"text": fmt.Sprintf("Page %d: the %dth chapter says what to do with %d files "+
				"and folders, and where they are kept.", from+i, i, from*i)})
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(row, '\n'))
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tpl, err := templates.Get("domain-adaptation")
	if err != nil {
		t.Fatal(err)
	}
	rec, err := tpl.Resolve("", nil, []string{"input=" + rows("train.jsonl", 30, 0), "eval_input=" + rows("held.jsonl", 8, 1000),
		"general_input=[]", "sequence_length=64", "steps=3", "batch_size=2", "rank=2", "max_new_tokens=0", "export.gguf=Q4_0"})
	if err != nil {
		t.Fatal(err)
	}
	r := &Run{Recipe: rec, Output: filepath.Join(dir, "out")}
	defer r.Close()
	if err := r.Open(); err != nil {
		t.Fatal(err)
	}
	m, err := r.All(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	g := m.GGUF
	if g == nil || g.Quant != "Q4_0" || g.Tokens == 0 {
		t.Fatalf("%+v", g)
	}
	var own float64
	for _, s := range m.Sections() {
		for _, row := range s.Open() {
			if row.Name == "domain" {
				own = row.After
			}
		}
	}
	if math.Abs(g.Model/own-1) > 1e-5 {
		t.Errorf("the model's perplexity is %v, the run measured %v", g.Model, own)
	}
	if g.File == g.Model || math.Abs(g.Rise()) > 10 {
		t.Errorf("in 4 bits it is %v, of %v", g.File, g.Model)
	}
	page, err := os.ReadFile(filepath.Join(r.Output, "report.html"))
	var table strings.Builder
	m.Table(&table, r.Output)
	if err != nil || !strings.Contains(string(page), "perplexity as Q4_0 (GGUF)") ||
		!strings.Contains(table.String(), "perplexity as Q4_0") {
		t.Errorf("neither table nor report says it: %v", err)
	}
}
