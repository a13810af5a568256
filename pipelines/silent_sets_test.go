package pipelines

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/evaluate"
)

// TestSilentGeneralText: continual learning has a limit on the general perplexity, and does not begin where nothing of that can be measured.
func TestSilentGeneralText(t *testing.T) {
	dir := t.TempDir()
	in, general := filepath.Join(dir, "in"), filepath.Join(dir, "g.jsonl")
	incoming(t, in, map[string]string{"1.txt": letters(0, 30)})
	if err := os.WriteFile(general, []byte(`{"text": "x"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := learnOnce(t, context.Background(), continualRecipe(t, in, "prepare.add_eos=false", "general_input="+general), filepath.Join(dir, "out"), Watch{})
	if err == nil || !strings.Contains(err.Error(), general) || !strings.Contains(err.Error(), "max_forgetting") {
		t.Errorf("%v", err)
	}
}

// TestChangesOfNamedSources: sources are paired by name, also where what an earlier version measured before training lacks one.
func TestChangesOfNamedSources(t *testing.T) {
	none, score := evaluate.NoScore("all rejected"), evaluate.NewScore(2, 1, evaluate.Text{})
	before := &Eval{Sources: []SourceScore{{Name: "b", Score: &score}}}
	after := &Eval{Sources: []SourceScore{{Name: "a", Score: &none}, {Name: "b", Score: &score}}}
	got := sourceChanges(before, after)
	if len(got) != 1 || got[0].Name != "b" || got[0].After.NLL != 2 {
		t.Errorf("%+v", got)
	}
	if got := sourceChanges(after, after); len(got) != 2 || !math.IsNaN(got[0].After.Perplexity) || got[0].After.Reason != "all rejected" {
		t.Errorf("%+v", got)
	}
}
