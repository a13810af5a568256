package train

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/golden"
)

// TestRolloutMetrics: what is reported of answers is what TRL 1.16 tells of them (interop/golden/rollouts.py).
func TestRolloutMetrics(t *testing.T) {
	cases := golden.JSON[[]struct {
		Name, Method string
		Scaling      map[string]any
		Metrics      map[string]float64
		Rewards      [][]*float64
		Lengths      []int
	}](t, filepath.Join("preference", "testdata", "rollouts.json"))
	ran := 0
	for _, c := range cases {
		if len(c.Metrics) == 0 || c.Method != "GRPO" {
			continue
		}
		o, err := NewObjective("grpo", c.Scaling)
		if err != nil {
			t.Fatal(err)
		}
		a := DefaultArgs()
		a.PerDeviceTrainBatchSize, a.GradientAccumulationSteps = len(c.Rewards), 1
		online, err := newOnline(o.(Advantaged), &a)
		if err != nil {
			t.Fatal(err)
		}
		var rows []datasets.Rollout
		var names []string
		for i, r := range c.Rewards {
			x := datasets.Rollout{CompletionIDs: make([]int32, c.Lengths[i]), Truncated: c.Lengths[i] == 7}
			for k := range r {
				v := math.NaN()
				if r[k] != nil {
					v = *r[k]
				}
				x.Rewards = append(x.Rewards, v)
				if i == 0 {
					names = append(names, "reward_"+string(rune('0'+k)))
				}
			}
			rows = append(rows, x)
		}
		online.judge(rows)
		got := RolloutMetrics(rows, names)
		for k, want := range c.Metrics {
			if !strings.HasPrefix(k, "reward") && !strings.HasPrefix(k, "completions/") && k != "frac_reward_zero_std" {
				continue
			}
			ran++
			if x, ok := got[k]; !ok || math.Abs(x-want) > 2e-6*max(1, math.Abs(want)) {
				t.Errorf("%s: %s is %g (%v), TRL has %g", c.Name, k, x, ok, want)
			}
		}
	}
	if ran < 20 {
		t.Errorf("%d metrics were compared", ran)
	}
}

// TestRoundsOfPrompts: each epoch has every prompt once, in an order of its own; a round that does not fit its groups is refused.
func TestRoundsOfPrompts(t *testing.T) {
	o := NewGRPO()
	o.NumGenerations, o.NumIterations = 2, 3
	a := DefaultArgs()
	a.PerDeviceTrainBatchSize, a.GradientAccumulationSteps = 8, 1
	online, err := newOnline(o, &a)
	if err != nil || online.Prompts != 4 || online.Steps != 3 || online.Answers != 8 {
		t.Fatalf("%+v, %v", online, err)
	}
	s := &Session{Online: online, job: Job{Args: a}}
	for i := range 6 {
		s.prompts = append(s.prompts, Prompt{DocID: string(rune('a' + i))})
	}
	var all []string
	for step := 0; step < 9; step += 3 {
		for i, p := range s.RoundPrompts(step) {
			if all = append(all, p.DocID); p.Index != i {
				t.Errorf("prompt %d has the index %d", i, p.Index)
			}
		}
	}
	first, second := slices.Sorted(slices.Values(all[:6])), slices.Sorted(slices.Values(all[6:]))
	if want := []string{"a", "b", "c", "d", "e", "f"}; !slices.Equal(first, want) || !slices.Equal(second, want) ||
		slices.Equal(all[:6], all[6:]) {
		t.Errorf("two epochs are %v", all)
	}
	if online.boundary(4, 100) != 6 || online.boundary(6, 7) != 7 {
		t.Error("a round ends elsewhere")
	}
	for want, change := range map[string]func(o *GRPO, a *Args){
		"num_generations is 3; it must divide": func(o *GRPO, _ *Args) { o.NumGenerations = 3 },
		"steps_per_generation is 3":            func(o *GRPO, a *Args) { o.StepsPerGeneration, a.GradientAccumulationSteps = 3, 2 },
		"mode local":                           func(_ *GRPO, a *Args) { a.Mode, a.Replicas = "local", 2 },
	} {
		o, a := *o, a
		change(&o, &a)
		if _, err := newOnline(&o, &a); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
