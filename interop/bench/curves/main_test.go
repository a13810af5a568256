package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each outer optimiser is a panel, each number of replicas a line of its legend; the numbers of H are the ticks.
func TestDraw(t *testing.T) {
	var runs []map[string]any
	add := func(replicas, h int, outer []any, perplexity float64) {
		runs = append(runs, map[string]any{"replicas": replicas, "local_steps": h, "outer_lr": outer[0], "outer_momentum": outer[1],
			"perplexity": perplexity})
	}
	add(1, 1, []any{nil, nil}, 50)
	for _, h := range []int{5, 100} {
		for _, outer := range [][]any{{1.0, 0.5}, {0.7, 0.9}} {
			add(2, h, outer, 50+float64(h)/10)
			add(8, h, outer, 60+float64(h)/10)
		}
	}
	raw, err := json.Marshal(map[string]any{"steps": 200, "batch": 8, "sequence_length": 64, "runs": runs})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "t.json"), filepath.Join(dir, "t.svg")
	if err := os.WriteFile(in, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := draws([]string{in, out}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	svg := string(b)
	for text, n := range map[string]int{"momentum 0.5": 1, "momentum 0.9": 1, ">1 replica<": 2, ">2 replicas<": 2, ">8 replicas<": 2,
		">100<": 2, ">5<": 2} {
		if got := strings.Count(svg, text); got != n {
			t.Errorf("%q stands %d times in the picture, want %d", text, got, n)
		}
	}
	if err := os.WriteFile(in, []byte(`{"runs": []}`), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := draws([]string{in, out}); err == nil || !strings.Contains(err.Error(), "mode local") {
		t.Errorf("a table without runs: %v", err)
	}
}
