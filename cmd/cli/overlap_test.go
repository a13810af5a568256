package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOverlap: documents that are both measured on and trained on are counted by their text, whatever file and format they come in, and
// named in log, table, report and metrics; texts that only look alike are not.
func TestOverlap(t *testing.T) {
	b := &desk{t, t.TempDir()}
	text := func(i int) string {
		return fmt.Sprintf("Document %d: the call opens the file, reads it and closes it.", i)
	}
	var lines, rows, dirty strings.Builder
	for i := range 20 {
		lines.WriteString(text(i) + "\n")
	}
	csv := "text,other\n"
	for i := 15; i < 22; i++ { // five of seven
		raw, _ := json.Marshal(map[string]string{"text": strings.ReplaceAll(text(i), " ", "\n ")})
		rows.Write(append(raw, '\n'))
		csv += fmt.Sprintf("%q,x\n", text(i))
	}
	for i := range 20 {
		dirty.WriteString("write to me@example.org. " + text(i) + "\n")
	}
	train, clean := b.file("train.txt", lines.String()), b.file("dirty.txt", dirty.String())
	held := map[string]string{"jsonl": b.file("held.jsonl", rows.String()), "csv": b.file("held.csv", csv),
		"txt": b.file("held.txt", text(30)+"\n"+text(31)+"\n"+strings.ToUpper(text(1))+"\n")}
	type overlap struct {
		Set       string
		Documents int
		Files     []struct {
			Source string
			In     []string
		}
	}
	check := func(name string, want map[string]int, args ...string) {
		t.Helper()
		out := b.path(name)
		code, stdout, stderr := ended(t, adaptflow(append(append([]string{"run", "domain-adaptation", "--output", out},
			set("sequence_length=32")...), args...)...))
		if code != 0 {
			t.Fatalf("%s: exit code %d: %s", name, code, stderr)
		}
		raw, err := os.ReadFile(filepath.Join(out, "metrics.json"))
		if err != nil {
			t.Fatal(err)
		}
		page, _ := os.ReadFile(filepath.Join(out, "report.html"))
		var m struct{ Data struct{ Overlap []overlap } }
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		if len(m.Data.Overlap) != len(want) {
			t.Errorf("%s: %+v, want %v", name, m.Data.Overlap, want)
		}
		for _, o := range m.Data.Overlap {
			words := fmt.Sprintf("too: %d (", want[o.Set])
			if o.Set == "held-out" {
				words = fmt.Sprintf("as duplicates: %d (", want[o.Set])
			}
			if o.Documents != want[o.Set] || strings.Count(stdout+stderr, words) < 2 || !strings.Contains(string(page), words) {
				t.Errorf("%s: %+v, want %v: %s", name, o, want, stderr)
			}
			if len(o.Files) != 1 || len(o.Files[0].In) != 1 {
				t.Errorf("%s: the files are %+v", name, o.Files)
			}
		}
	}
	check("jsonl", map[string]int{"eval_input": 5}, "--set", "input="+train, "--set", "eval_input="+held["jsonl"])
	check("csv", map[string]int{"eval_input": 5, "general_input": 20}, "--set", "input="+train, "--set", "eval_input="+held["csv"], "--set",
		"general_input="+train)
	check("apart", nil, "--set", "input="+train, "--set", "eval_input="+held["txt"])
	check("rewritten", map[string]int{"eval_input": 20}, "--set", "input="+clean, "--set", "eval_input="+clean, "--recipe",
		b.file("clean.yaml", "prepare: {clean: [{rule: pii, action: remove}]}\n"))
	check("twice", map[string]int{"held-out": 1}, "--set", "input="+b.file("twice.txt", strings.Repeat(lines.String(), 3)), "--set",
		"validation_fraction=0.02")
}
