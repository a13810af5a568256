package examples

import (
	"fmt"
	"go/parser"
	"go/token"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/tokenize"
)

// lines bounds the lines of each file of an example.
var lines = map[string]int{"train": 45, "generate": 60, "method": 60, "objective": 60, "rule": 60, "extension": 60}

// build builds an example and returns the program.
func build(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds programs")
	}
	bin := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", bin, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return bin
}

// base is the folder of the embedded model.
func base(t *testing.T) string {
	t.Helper()
	dir, err := assets.Model("embedded:lm-en-5m", nil)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// run runs a program and returns what it prints.
func run(t *testing.T, bin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(bin, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr.String())
	}
	return string(out)
}

// TestSources: every example is short, in the list of doc.go, and imports what another module may.
func TestSources(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob("*/main.go")
	if err != nil || len(found) != len(lines) {
		t.Errorf("%d examples, %d with a bound of lines (%v)", len(found), len(lines), err)
	}
	all, err := filepath.Glob("*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		name := filepath.Dir(file)
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), "\n"); n > lines[name] {
			t.Errorf("%s has %d lines, more than %d", file, n, lines[name])
		}
		if !strings.Contains(string(doc), "//   - "+name+": ") {
			t.Errorf("doc.go does not list %s", name)
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, source, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if strings.Contains(i.Path.Value, "/internal/") {
				t.Errorf("%s imports %s, which a user's program cannot", file, i.Path.Value)
			}
		}
	}
}

// TestExamples: a program of a few lines trains a LoRA adapter and another answers with it; neither is large, nor knows Beam.
func TestExamples(t *testing.T) {
	train, model := build(t, "train"), base(t)
	text, adapter := filepath.Join(t.TempDir(), "a.txt"), filepath.Join(t.TempDir(), "adapter")
	if err := os.WriteFile(text, []byte(strings.Repeat("The ferry leaves the harbour at seven.\n", 40)), 0o644); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(train)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() >= 20_000_000 {
		t.Errorf("the program has %d bytes", info.Size())
	}
	for _, name := range []string{"train", "generate"} {
		deps, err := exec.Command("go", "list", "-deps", "./"+name).Output()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(deps), "github.com/apache/beam") {
			t.Errorf("%s brings Beam along", name)
		}
	}
	if out := run(t, train, model, text, adapter); !strings.Contains(out, "step 20: loss 0.") {
		t.Errorf("the text was not learnt:\n%s", out)
	}
	if out := run(t, build(t, "generate"), model, "The ferry", adapter); !strings.Contains(out, adapter+":  leaves the harbour at seven.") {
		t.Errorf("it does not know the text:\n%s", out)
	}
}

// TestMethod: a method of a program's own learns a sentence and is opened again from its folder, which other programs do not know.
func TestMethod(t *testing.T) {
	bin, model, adapter := build(t, "method"), base(t), filepath.Join(t.TempDir(), "adapter")
	var text string
	var learnt float64
	out := run(t, bin, model, adapter)
	if _, err := fmt.Sscanf(out, "%q: log-probability %g", &text, &learnt); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m, err := infer.Load(model, "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	before, err := m.Score(text)
	if err != nil {
		t.Fatal(err)
	}
	if learnt > 0 || learnt < -3 || before[0].Sum() > -20 {
		t.Errorf("log-probability %.1f, %.1f with the adapter", before[0].Sum(), learnt)
	}
	if _, err := infer.Load(model, "", adapter); err == nil || !strings.Contains(err.Error(), `unknown method (peft_type) "BENT"`) {
		t.Errorf("opened without the method: %v", err)
	}
}

// TestObjective: the loss is the one of the paper, of the base's own log-probabilities at first; it falls, and the metric rises.
func TestObjective(t *testing.T) {
	const text = "The ferry leaves the harbour at seven."
	bin, model := build(t, "objective"), base(t)
	m, err := infer.Load(model, "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	scores, err := m.Score(text)
	if err != nil {
		t.Fatal(err)
	}
	wantLoss, wantMetric, n := 0.0, 0.0, float64(len(scores[0].LogProbs))
	for _, l := range scores[0].LogProbs {
		p := math.Exp(float64(l))
		wantLoss -= (1 - p) * (1 - p) * float64(l) / n
		wantMetric += p / n
	}
	steps := strings.Split(strings.TrimSpace(run(t, bin, model, text)), "\n")
	var loss, metric, lastLoss, lastMetric float64
	for i, line := range steps {
		var k int
		if _, err := fmt.Sscanf(line, "step %d: loss %g, probability %g", &k, &loss, &metric); err != nil || k != i+1 {
			t.Fatalf("%q: %v", line, err)
		}
		if i == 0 && (math.Abs(loss-wantLoss) > 1e-3 || math.Abs(metric-wantMetric) > 1e-3) {
			t.Errorf("the first step: %s, want %.4f and %.4f", line, wantLoss, wantMetric)
		}
		if i > 0 && (loss >= lastLoss || metric <= lastMetric) {
			t.Errorf("%s after loss %g, probability %g", line, lastLoss, lastMetric)
		}
		lastLoss, lastMetric = loss, metric
	}
	if len(steps) != 10 || loss > wantLoss/4 {
		t.Errorf("%d steps, from loss %g to %g", len(steps), wantLoss, loss)
	}
}

// TestRule: a rule of a program's own drops and rewrites documents in a pipeline, beside a rule of the table.
func TestRule(t *testing.T) {
	bin, model, out := build(t, "rule"), base(t), t.TempDir()
	text := filepath.Join(t.TempDir(), "a.txt")
	const in = "The ferry leaves the harbour at seven!\nTHE FERRY LEAVES the harbour NOW!\nto sea\nIt comes back at nine.\n"
	if err := os.WriteFile(text, []byte(in), 0o644); err != nil {
		t.Fatal(err)
	}
	got := run(t, bin, model, text, out)
	if want := "left out: map[length.too_few_words:1 shouting.too_loud:1]\n"; !strings.HasPrefix(got, "2 of 4 documents kept, ") ||
		!strings.HasSuffix(got, want) {
		t.Errorf("it says %q, want … %s", got, want)
	}
	if texts := decoded(t, model, filepath.Join(out, "shards")); !strings.Contains(texts, "The ferry leaves the harbour at seven.") ||
		strings.Contains(texts, "!") || !strings.Contains(texts, "It comes back at nine.") {
		t.Errorf("the shards hold %q", texts)
	}
	files, err := filepath.Glob(filepath.Join(out, "rejects", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files of dead letters: %v, %v", files, err)
	}
	var loud []datasets.Reject
	if err := datasets.ReadRejects(files[0], func(r *datasets.Reject) bool {
		if r.Rule == "shouting" {
			loud = append(loud, *r)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if len(loud) != 1 || loud[0].Index != 1 || loud[0].Reason != "too_loud" || loud[0].Value != "0.63" || loud[0].Threshold != "0.3" {
		t.Errorf("the rule's dead letters: %+v", loud)
	}
}

// decoded is the text of the tokens in a folder of shards.
func decoded(t *testing.T, model, dir string) (text string) {
	t.Helper()
	tokenizer, err := tokenize.Load(model)
	if err != nil {
		t.Fatal(err)
	}
	m, err := datasets.ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range m.Train {
		shard, err := datasets.OpenShard(filepath.Join(dir, info.Path))
		if err != nil {
			t.Fatal(err)
		}
		defer shard.Close()
		for i := range shard.NumRowGroups() {
			rows, err := shard.ReadRowGroup(i)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				text += tokenizer.Decode(r.InputIDs, true) + "\n"
			}
		}
	}
	return text
}
