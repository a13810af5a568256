package run

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/templates"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/train"
)

// TestRunsFreeTheirModels: a process that hosts many runs, one after another over bases of their own, keeps none of their models, nor that
// of a plan.
func TestRunsFreeTheirModels(t *testing.T) {
	dir := t.TempDir()
	var rows strings.Builder
	for i := range 40 {
		fmt.Fprintf(&rows, "{\"text\": \"Number %d, about %s of today and of many other days.\", \"label\": \"%d\"}\n", i,
			[]string{"rivers", "engines"}[i%2], i%2)
	}
	input := filepath.Join(dir, "in.jsonl")
	if err := os.WriteFile(input, []byte(rows.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	train.CloseSessions()
	kernels.FreeIdle()
	before := mem.Held()
	for i, template := range []string{"domain-adaptation", "classification", "domain-adaptation"} {
		base, err := assets.Resolve("embedded:lm-en-5m")
		if err != nil {
			t.Fatal(err)
		}
		own := filepath.Join(dir, fmt.Sprintf("base%d", i))
		if err := os.CopyFS(own, os.DirFS(base)); err != nil {
			t.Fatal(err)
		}
		tpl, err := templates.Get(template)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := tpl.Resolve("", nil, []string{"input=" + input, "eval_input=" + input, "model=" + own, "sequence_length=32", "steps=2",
			"batch_size=2", "data.general_input=[]", "evaluate.max_new_tokens=0"})
		if err != nil {
			t.Fatal(err)
		}
		p, err := Compile(rec)
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		r := &Run{Recipe: rec, Output: filepath.Join(dir, fmt.Sprintf("out%d", i))}
		err = r.Open()
		if err == nil {
			_, err = r.All(context.Background())
		}
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		if kernels.FreeIdle(); mem.Held() != before {
			t.Errorf("after run %d, %s: %d bytes outside the heap, want %d", i, template, mem.Held(), before)
		}
	}
}
