package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/templates/assets"
)

// lines bounds the lines of each example.
var lines = map[string]int{"train": 45, "generate": 60}

// build builds an example and returns the program.
func build(t *testing.T, name string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", bin, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	source, err := os.ReadFile(filepath.Join(name, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), "\n"); n > lines[name] {
		t.Errorf("%s has %d lines, more than %d", name, n, lines[name])
	}
	return bin
}

func run(t *testing.T, bin string, args ...string) string {
	t.Helper()
	out, err := exec.Command(bin, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// TestExamples: a program of a few lines trains a LoRA adapter and another answers with it; neither is large, nor knows Beam.
func TestExamples(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs")
	}
	base, err := assets.Model("embedded:lm-en-5m", nil)
	if err != nil {
		t.Fatal(err)
	}
	text, adapter := filepath.Join(t.TempDir(), "a.txt"), filepath.Join(t.TempDir(), "adapter")
	if err := os.WriteFile(text, []byte(strings.Repeat("The ferry leaves the harbour at seven.\n", 40)), 0o644); err != nil {
		t.Fatal(err)
	}
	train := build(t, "train")
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
	if out := run(t, train, base, text, adapter); !strings.Contains(out, "step 20: loss 0.") {
		t.Errorf("the text was not learnt:\n%s", out)
	}
	if out := run(t, build(t, "generate"), base, "The ferry", adapter); !strings.Contains(out, adapter+":  leaves the harbour at seven.") {
		t.Errorf("it does not know the text:\n%s", out)
	}
}
