package kinds

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/train/continual"
)

// TestSilentGeneralText: continual learning has a limit on the general perplexity, and does not begin where nothing of that can be
// measured.
func TestSilentGeneralText(t *testing.T) {
	dir := t.TempDir()
	in, general := filepath.Join(dir, "in"), filepath.Join(dir, "g.jsonl")
	incoming(t, in, map[string]string{"1.txt": letters(0, 30)})
	if err := os.WriteFile(general, []byte(`{"text": "x"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := learnOnce(t, context.Background(), continualRecipe(t, in, "prepare.add_eos=false", "general_input="+general),
		filepath.Join(dir, "out"), Watch{})
	if err == nil || !strings.Contains(err.Error(), general) || !strings.Contains(err.Error(), "max_forgetting") {
		t.Errorf("%v", err)
	}
}

// TestIncrementsThatFail: an increment whose adapted model is not finite is rolled back, and one of fewer sequences than a batch, where
// dataloader_drop_last drops it, is rejected: neither holds up what comes after it.
func TestIncrementsThatFail(t *testing.T) {
	for _, c := range []struct {
		name, decision, reason string
		more                   []string
	}{
		{"diverged", continual.RolledBack, "the training diverged: the model scores",
			[]string{"max_steps=1", "warmup_steps=0", "learning_rate=1e18"}},
		{"too few", continual.Rejected, "dataloader_drop_last", []string{"train.dataloader_drop_last=true", "batch_size=64"}},
	} {
		dir := t.TempDir()
		in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
		incoming(t, in, map[string]string{"1.txt": letters(0, 30)})
		for range 2 { // the second call finds it done
			l, err := learnOnce(t, context.Background(), continualRecipe(t, in, c.more...), out, Watch{})
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if x := l.Increments; len(x) != 1 || x[0].Decision != c.decision ||
				!strings.Contains(x[0].Reason, c.reason) || l.Current != "" {
				t.Errorf("%s: %+v", c.name, x)
			}
		}
	}
}
