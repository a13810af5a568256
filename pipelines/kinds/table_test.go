package kinds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates"
)

// TestKindsOfTemplates: each template is of the kind that it says it is.
func TestKindsOfTemplates(t *testing.T) {
	want := map[string]string{"compare-methods": compareKind.Name, "personal-assistants": keysKind.Name,
		"continual-learning": continualKind.Name,
		"classification":     classificationKind.Name, "grpo": rolloutsKind.Name, "reward-model": rewardKind.Name}
	for _, tp := range templates.List() {
		rec, err := tp.Resolve("", nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", tp.Name, err)
		}
		name := want[tp.Name]
		if name == "" {
			name = singleKind.Name
		}
		if k := Of(rec); k.Name != name {
			t.Errorf("%s is of the kind %q, want %q", tp.Name, k.Name, name)
		}
		delete(want, tp.Name)
	}
	if len(want) > 0 {
		t.Errorf("no template is of the kinds of %v", want)
	}
}

// TestKindsAreWhole: a row has what every command asks for, under a name of its own.
func TestKindsAreWhole(t *testing.T) {
	names := map[string]bool{}
	for _, k := range Kinds() {
		if k.Name == "" || names[k.Name] || k.When == nil || k.Run == nil || k.Export == nil ||
			(k.Shown.By == "") != (k.Shown.Facts == nil) ||
			k.Forgets != nil && (k.Forgets.Affected == nil || k.Forgets.Forget == nil) {
			t.Errorf("%+v", k)
		}
		names[k.Name] = true
	}
}

// countKind is a kind of run in a file and a row: it counts the documents of its input, and trains nothing.
var countKind = Kind{
	Name:    "a count of documents",
	When:    func(r *recipe.Recipe) bool { return r.Train.Seed == 4711 },
	Summary: "count.json",
	Run: func(ctx context.Context, r *run.Run, _ Options) (Outcome, error) {
		d, err := r.Prepare(ctx)
		if err != nil {
			return Outcome{}, err
		}
		c := counted{d.Train.Kept}
		return Outcome{Summary: c, Bad: r.Bad(d.Train.Funnel)},
			errors.Join(storage.WriteJSON(filepath.Join(r.Output, "count.json"), c), r.Publish())
	},
	Export: func(_ context.Context, r *run.Run) error {
		return fmt.Errorf("a count has no adapter: see %s", r.Product("count.json"))
	},
	Shown: Shown{By: "count.json", Facts: func(dir string) ([]report.Fact, error) {
		raw, err := os.ReadFile(filepath.Join(dir, "count.json"))
		return report.Facts("count", string(bytes.Join(bytes.Fields(raw), nil))), err
	}},
}

type counted struct{ Documents int64 }

func (c counted) Table(w io.Writer, output string) {
	fmt.Fprintf(w, "%d documents in %s\n", c.Documents, output)
}

// TestAKindIsAFileAndARow: what the commands do with a recipe they do with one of a new kind.
func TestAKindIsAFileAndARow(t *testing.T) {
	was := table
	defer func() { table = was }()
	table = append([]Kind{countKind}, table...)
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.txt"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, []byte(letters(0, 20)), 0o644); err != nil {
		t.Fatal(err)
	}
	rec := resolved(t, "domain-adaptation", "input="+in, "sequence_length=48", "seed=4711", "eval_input=", "general_input=")
	r := &run.Run{Recipe: rec, Output: out, Say: t.Logf}
	defer r.Close()
	if err := Open(r); err != nil {
		t.Fatal(err)
	}
	kind := Of(rec)
	o, err := kind.Run(context.Background(), r, Options{})
	if err != nil || o.Bad != nil {
		t.Fatal(err, o.Bad)
	}
	var table bytes.Buffer
	if o.Summary.Table(&table, "here"); table.String() != "20 documents in here\n" {
		t.Errorf("the table is %q", table.String())
	}
	if err := kind.Export(t.Context(), r); err == nil || kind.Forgets != nil || kind.Watches {
		t.Errorf("%v %+v", err, kind)
	}
	if facts, err := inspectPath(out); err != nil || !slices.Equal(facts, report.Facts("count", `{"Documents":20}`)) {
		t.Errorf("inspected: %v, %v", facts, err)
	}
}

// TestTheComparisonFits: the methods of the template that compares some can be sized to its budget.
func TestTheComparisonFits(t *testing.T) {
	rec := resolved(t, "compare-methods")
	r := &run.Run{Recipe: rec, Output: filepath.Join(t.TempDir(), "out")}
	if err := Open(r); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	budget, err := budgetOf(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range rec.Compare.Methods {
		if _, n, err := sized(r, m, budget); err != nil || n == 0 {
			t.Errorf("%s: %d values: %v", m, n, err)
		}
	}
}
