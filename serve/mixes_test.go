package serve

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
)

// TestMixes: whatever requests are continued side by side, with one thread and with two, each answer has the tokens that the model alone
// generates. ADAPTFLOW_MIXES is the number of mixes, such as 1000.
func TestMixes(t *testing.T) {
	mixes, err := strconv.Atoi(cmp.Or(os.Getenv("ADAPTFLOW_MIXES"), "8"))
	if err != nil {
		t.Fatal(err)
	}
	base, dir := embedded(t), t.TempDir()
	names := []string{"base"}
	for i := range 8 {
		names = append(names, fmt.Sprintf("a%d", i))
		config := small
		if i%4 == 3 {
			config = map[string]any{"r": 1 + i%3, "target_modules": "all-linear"}
		}
		adapter(t, filepath.Join(dir, names[i+1]), base, "LORA", config, i+3)
	}
	texts := []string{"The city was built on a hill.", "She", "Once upon a time there was a man who had", "It is said that",
		strings.Repeat("The river and the sea. ", 7)}
	r := rand.New(rand.NewPCG(7, uint64(mixes)))
	cases, want := mixCases(t, base, dir, names, texts, r)
	for _, threads := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d threads", threads), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
			e := live(t, Options{Model: base, Name: "base", Adapters: Folders{Dir: dir}, AdapterMemory: 1 << 20, Context: 96, Sequences: 9})
			for mix := range (mixes + 1) / 2 {
				var wait sync.WaitGroup
				for range 2 + r.IntN(14) {
					i := r.IntN(len(cases))
					a, err := e.Start(cases[i].ask(t, e))
					if err != nil {
						t.Fatal(err)
					}
					wait.Go(func() {
						if ids, err := all(a[0]); err != nil || !slices.Equal(ids, want[i]) {
							t.Errorf("mix %d: %s of %.20q: %v, %v, and alone %v", mix, cases[i].name, cases[i].text, ids, err, want[i])
						}
					})
					if r.IntN(3) == 0 {
						runtime.Gosched() // what was asked is begun before the next is
					}
				}
				wait.Wait()
			}
		})
	}
}

// mixCases are requests, greedy and seeded, and what each model alone generates of them.
func mixCases(t *testing.T, base, dir string, names, texts []string, r *rand.Rand) (cases []asking, want [][]int32) {
	t.Helper()
	for _, name := range names {
		at := filepath.Join(dir, name)
		if name == "base" {
			at = ""
		}
		m, err := infer.Load(base, "", at)
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range texts {
			q := asking{name: name, text: text, s: evaluate.Sampling{MaxNewTokens: 2 + r.IntN(12)}}
			if i%2 == 1 {
				q.s.DoSample, q.s.Temperature, q.s.Seed = true, 1, uint64(r.IntN(9))
			}
			c, err := m.Generate(text, q.s, nil)
			if err != nil {
				t.Fatal(err)
			}
			cases, want = append(cases, q), append(want, c.IDs)
		}
		m.Close()
	}
	return cases, want
}
