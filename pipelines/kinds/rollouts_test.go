package kinds

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/templates"
	"github.com/adaptflow/adaptflow/train"
)

// rolloutRecipe is a run that learns from answers of the small model's own. more are further lines of objective_args.
const rolloutRecipe = `
model: {path: %s}
data: {input: [%s], eval_input: [%s], general_input: []}
prepare: {sequence_length: 48}
train:
  objective: %s
  objective_args:
    num_generations: 2
    max_completion_length: 6
    num_iterations: 2
    steps_per_generation: 2
    beta: 0.1
    reward_funcs: [{name: format, pattern: "[aeiou]"}, {name: program, command: [/bin/sh, %s]}]
%s
  max_steps: 8
  per_device_train_batch_size: 4
  learning_rate: 0.01
  warmup_steps: 0
evaluate: {max_sequences: 4, prompts: []}
`

// rolloutRun is a run of that recipe into a folder of dir; at receives each step. It gives the files of the run by name, and how often
// the reward's program was asked.
func rolloutRun(ctx context.Context, t *testing.T, dir, objective, name, more string, at func(step int)) (map[string]string, int, error) {
	t.Helper()
	output := filepath.Join(dir, name)
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var rows [2]strings.Builder
	for i := range 9 {
		fmt.Fprintf(&rows[i%3/2], "{\"prompt\": \"%s left the\", \"answer\": \" %d\"}\n", []string{"Ann", "Bob", "Cleo"}[i%3], i)
	}
	asked := filepath.Join(dir, "asked")
	script := put("reward.sh", "while read -r l; do echo x >> "+asked+"; case \"$l\" in *Ann*) echo 0.25;; *) echo null;; esac; done\n")
	base, err := filepath.Abs(filepath.Join(small, "base"))
	if err != nil {
		t.Fatal(err)
	}
	tp, err := templates.Get("domain-adaptation")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(rolloutRecipe, base, put("prompts.jsonl", rows[0].String()), put("held.jsonl", rows[1].String()),
		objective, script, more)
	if _, rest, ok := strings.Cut(more, "@"); ok { // a line that takes another's place
		key, line, _ := strings.Cut(rest, "@")
		var lines []string
		for l := range strings.Lines(strings.ReplaceAll(text, more, line)) {
			if !strings.HasPrefix(strings.TrimSpace(l), key+":") || strings.TrimRight(l, "\n") == line {
				lines = append(lines, l)
			}
		}
		text = strings.Join(lines, "")
	}
	rec, err := tp.Resolve("recipe.yaml", []byte(text), nil)
	if err != nil {
		return nil, 0, err
	}
	r := &run.Run{Recipe: rec, Output: output, Say: t.Logf, Step: func(_ int, info *train.StepInfo, _ *train.Eval) { at(info.Step) }}
	defer r.Close()
	if err := Open(r); err != nil {
		return nil, 0, err
	}
	if k := Of(rec); k.Name != rolloutsKind.Name {
		t.Errorf("the kind is %s", k.Name)
	}
	count := func() int {
		raw, _ := os.ReadFile(asked)
		return strings.Count(string(raw), "x")
	}
	if _, err := Of(rec).Run(ctx, r, Options{}); err != nil {
		return nil, count(), err
	}
	files := map[string]string{}
	for _, pattern := range []string{"adapter/adapter_model.safetensors", "checkpoints/rollouts/*"} {
		found, _ := filepath.Glob(filepath.Join(output, pattern))
		for _, p := range found {
			raw, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			files[filepath.Base(p)] = string(raw)
		}
	}
	return files, count(), nil
}

// TestRollouts: a run of answers of the model's own, sampled by one worker or by several, killed in the middle of a round and
// continued, ends with the same rollouts and the same adapter; what a program said of an answer is not asked again.
func TestRollouts(t *testing.T) {
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("no /bin/sh")
	}
	for _, objective := range []string{"grpo", "rloo"} {
		t.Run(objective, func(t *testing.T) {
			dir := t.TempDir()
			want, _, err := rolloutRun(t.Context(), t, dir, objective, "whole", "", func(int) {})
			if err != nil {
				t.Fatal(err)
			}
			if names := slices.Sorted(maps.Keys(want)); !slices.Equal(names, []string{"adapter_model.safetensors", "round-000000.parquet",
				"round-000004.parquet"}) {
				t.Fatalf("the run gives %v", names)
			}
			m, err := report.ReadMetrics(filepath.Join(dir, "whole"))
			if err != nil {
				t.Fatal(err)
			}
			if n := len(m.Train.Metrics["reward"]); n != 2 || len(m.Train.Metrics["rewards/format/mean"]) != 2 ||
				len(m.Train.Metrics["completions/mean_length"]) != 2 || len(m.Train.Loss) != 8 {
				t.Errorf("%d rewards are reported, metrics %v", n, slices.Sorted(maps.Keys(m.Train.Metrics)))
			}
			same := func(what string, got map[string]string) {
				t.Helper()
				for name, x := range want {
					if got[name] != x {
						t.Errorf("%s: %s is another", what, name)
					}
				}
			}
			several, _, err := rolloutRun(t.Context(), t, dir, objective, "several", "    rollout_workers: 3", func(int) {})
			if err != nil {
				t.Fatal(err)
			}
			// The files name the settings, of which the number of workers is one.
			several["round-000000.parquet"], several["round-000004.parquet"] = want["round-000000.parquet"], want["round-000004.parquet"]
			same("several workers", several)

			if objective != "grpo" {
				return
			}
			for _, lost := range []string{"checkpoint-000008", "checkpoint-000008 rollouts/round-000004.parquet", "rollouts checkpoint-*"} {
				name := "killed-" + strings.ReplaceAll(strings.Fields(lost)[0], "*", "") + fmt.Sprint(len(lost))
				ctx, kill := context.WithCancel(t.Context())
				_, before, err := rolloutRun(ctx, t, dir, objective, name, "", func(step int) {
					if step == 6 {
						kill()
					}
				})
				if !errors.Is(err, context.Canceled) {
					t.Fatalf("killed: %v", err)
				}
				for _, pattern := range strings.Fields(lost) { // as a kill in the middle of the round leaves it
					found, _ := filepath.Glob(filepath.Join(dir, name, "checkpoints", pattern))
					for _, p := range found {
						os.RemoveAll(p)
					}
				}
				got, after, err := rolloutRun(t.Context(), t, dir, objective, name, "", func(int) {})
				if err != nil {
					t.Fatal(err)
				}
				same("killed, without "+lost, got)
				if before == 0 || after-before > 4 { // of the measure after training, which keeps nothing
					t.Errorf("without %s the program was asked of %d answers before, of %d in all", lost, before, after)
				}
			}
		})
	}
}

// TestRolloutsThatDoNotGo: what is wrong is one clear line, before anything is trained.
func TestRolloutsThatDoNotGo(t *testing.T) {
	program := func(does string) string {
		return "    reward_funcs: [{name: program, command: [/bin/sh, -c, '" + does + "'], retries: 0, timeout: 1}]"
	}
	for want, more := range map[string]string{
		"num_generations is 1: an answer is compared with others": "    num_generations: 1",
		"num_generations is 3; it must divide the answers that":   "    num_generations: 3",
		"steps_per_generation is -1":                              "    steps_per_generation: -1",
		`the reward "acuracy" is unknown`:                         "    reward_funcs: [acuracy]",
		"reward_funcs names no reward":                            "    reward_funcs: []",
		"the reward model: adapter names no folder":               "    reward_funcs: [model]",
		"reward_weights has 1 weights for 2 of reward_funcs":      "    reward_weights: [1]",
		"temperature is 0; it must be above 0":                    "    temperature: 0",
		"exit status 3: out of ideas":                             program("echo out of ideas >&2; exit 3"),
		"is not a reward: want a number, null":                    program("echo NaN"),
		"said nothing within timeout, 1 s":                        program("exec sleep 60"),
	} {
		key, _, _ := strings.Cut(strings.TrimSpace(more), ":")
		_, _, err := rolloutRun(t.Context(), t, t.TempDir(), "grpo", "out", "@"+key+"@"+more, func(int) {})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
