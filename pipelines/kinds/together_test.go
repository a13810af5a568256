package kinds

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/templates"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/perkey"
)

// small is a base model of 8,000 parameters with texts of each kind for it, beside which a run takes a second.
const small = "../../cmd/cli/testdata/resumed/in"

// smallRuns are the settings of a run over the base small, by name: the template, then what is set.
var smallRuns = map[string][]string{
	"domain": {"domain-adaptation", "input=text.jsonl", "eval_input=held.jsonl", "general_input=general.jsonl", "sequence_length=32",
		"evaluate.prompts=[Ann left]", "evaluate.max_new_tokens=4", "train.eval_steps=2", "export.merged=true"},
	"instruction": {"instruction-tuning", "input=chat.jsonl", "eval_input=chat-held.jsonl", "general_input=general.jsonl",
		"data.columns={prompt: prompt, completion: completion}", "sequence_length=96", "evaluate.exact_match=2",
		"evaluate.max_new_tokens=4"},
	"distillation": {"distillation", "teacher=base", "input=text.jsonl", "eval_input=held.jsonl", "general_input=", "sequence_length=32",
		"evaluate.prompts=[]"},
	"classification": {"classification", "input=labels.jsonl", "eval_input=labels-held.jsonl", "sequence_length=64"},
	"keys": {"personal-assistants", "input=rows.jsonl", "eval_input=rows-held.jsonl", "data.key_column=user", "sequence_length=64",
		"keys.group_keys=2"},
	"comparison": {"compare-methods", "input=text.jsonl", "eval_input=held.jsonl", "general_input=general.jsonl", "sequence_length=32",
		"data.validation_fraction=0.2", "compare.methods=[LORA, IA3]", "compare.learning_rates=[0.001, 0.01]"},
	"continual": {"continual-learning", "input=come", "eval_input=held.jsonl", "general_input=general.jsonl", "sequence_length=32",
		"continual.max_forgetting=5", "continual.max_domain_rise=5", "data.validation_fraction=0.2"},
}

// made is what a run gave: what it told, the optimiser steps that it told of, and its files by name.
type made struct {
	said, steps []string
	files       map[string]string
}

// smallRun runs the recipe of a name, over the base and the texts of the folder from, into the folder output as a program does that has
// adaptflow as a library. at is called whenever the run tells something, also a step.
func smallRun(ctx context.Context, name, from, output string, at func()) (*made, error) {
	settings := smallRuns[name]
	tp, err := templates.Get(settings[0])
	if err != nil {
		return nil, err
	}
	set := []string{"batch_size=2", "rank=1", "steps=6", "train.save_steps=2", "train.warmup_steps=1"}
	from, err = filepath.Abs(from)
	if err != nil {
		return nil, err
	}
	for _, s := range append([]string{"model=base"}, settings[1:]...) {
		if key, value, _ := strings.Cut(s, "="); key == "model" || key == "teacher" || strings.HasSuffix(key, "input") && value != "" {
			s = key + "=" + filepath.Join(from, value)
		}
		set = append(set, s)
	}
	rec, err := tp.Resolve("", nil, set)
	if err != nil {
		return nil, err
	}
	out := &made{files: map[string]string{}}
	plain := func(s string) string {
		return strings.ReplaceAll(strings.ReplaceAll(s, output, "OUTPUT"), filepath.Base(output), "OUTPUT")
	}
	r := &run.Run{Recipe: rec, Output: output,
		Say: func(format string, a ...any) {
			out.said = append(out.said, plain(fmt.Sprintf(format, a...)))
			at()
		},
		Step: func(total int, info *train.StepInfo, eval *train.Eval) {
			if info != nil {
				out.steps = append(out.steps, fmt.Sprintf("step %d of %d: %v", info.Step, total, info.Loss))
			} else {
				out.steps = append(out.steps, fmt.Sprintf("step %d: %v", eval.Step, eval.Loss))
			}
			at()
		}}
	defer r.Close()
	if err := Open(r); err != nil {
		return nil, err
	}
	o, err := Of(rec).Run(ctx, r, Options{})
	if err != nil {
		return nil, err
	}
	if o.Bad != nil {
		return nil, o.Bad
	}
	return out, filepath.WalkDir(output, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(p)
		rel, _ := filepath.Rel(output, p)
		switch filepath.Ext(p) {
		case ".json":
			var v any
			if err := json.Unmarshal(raw, &v); err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
			raw, err = json.Marshal(timeless(v))
			out.files[rel] = plain(string(raw))
			return err
		case ".parquet", ".safetensors", ".jsonl", ".md", ".yaml":
			out.files[rel] = plain(string(raw))
		}
		return err
	})
}

// timed are the keys of JSON that tell how long something took, what memory the process has, or the checksum of a file that does.
var timed = regexp.MustCompile(`^(.*seconds|finished|.*per_second|peak_rss_bytes|events\..*|report\.html|sha256)$`)

func timeless(v any) any {
	switch v := v.(type) {
	case map[string]any:
		maps.DeleteFunc(v, func(k string, _ any) bool { return timed.MatchString(k) })
		for k, x := range v {
			v[k] = timeless(x)
		}
	case []any:
		for i, x := range v {
			v[i] = timeless(x)
		}
	}
	return v
}

// TestTwoRunsAtOnce: whole runs of one process, of two recipes or of one, from their texts to their exported adapters, give at the same
// time what each gives alone, see their own progress, and leave the process as they found it.
func TestTwoRunsAtOnce(t *testing.T) {
	look := hostStays(t)
	dir := t.TempDir()
	pairs := [][2]string{{"domain", "classification"}, {"domain", "domain"}, {"keys", "domain"}, {"keys", "keys"},
		{"instruction", "continual"}, {"comparison", "distillation"}}
	got := make([][2]*made, len(pairs))
	for i, pair := range pairs {
		var wait, begun sync.WaitGroup
		begun.Add(2)
		for k, name := range pair {
			wait.Go(func() {
				began := sync.OnceFunc(begun.Done)
				defer began()
				m, err := smallRun(t.Context(), name, small, filepath.Join(dir, fmt.Sprintf("%d-%d-%s", i, k, name)), func() {
					began()
					begun.Wait()
					look()
				})
				if err != nil {
					t.Errorf("%s beside %s: %v", name, pair[1-k], err)
				}
				got[i][k] = m
			})
		}
		wait.Wait()
	}
	alone := map[string]*made{}
	for i, pair := range pairs {
		for k, name := range pair {
			if alone[name] == nil {
				var err error
				if alone[name], err = smallRun(t.Context(), name, small, filepath.Join(dir, "alone-"+name), func() {}); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			if got[i][k] != nil {
				t.Run(name+" beside "+pair[1-k], func(t *testing.T) { same(t, got[i][k], alone[name]) })
			}
		}
	}
	for name := range smallRuns {
		if alone[name] == nil {
			t.Errorf("%s is in no pair", name)
		}
	}
}

// TestOneOfTwoRunsIsInterrupted while it trains: the other, which trains at the same time, ends with what it gives alone, and so does the
// first when it goes on in the same process.
func TestOneOfTwoRunsIsInterrupted(t *testing.T) {
	dir := t.TempDir()
	for name, trains := range map[string]string{ // the interrupted run, and a file of it by which it trains
		"domain": "checkpoints/checkpoint-000002/trainer_state.json", "keys": "adapters/*/metrics.json",
		"continual": "increments/0002/checkpoints/checkpoint-000002/trainer_state.json"} {
		t.Run(name, func(t *testing.T) {
			output := filepath.Join(dir, "interrupted-"+name)
			ctx, cancel := context.WithCancel(t.Context())
			look := func() {
				if there, _ := filepath.Glob(filepath.Join(output, trains)); len(there) > 0 {
					cancel()
				}
			}
			defer perkey.Watch(filepath.Join(output, "adapters"), func(*perkey.Result) { look() })()
			var wait sync.WaitGroup
			var other *made
			wait.Go(func() {
				var err error
				if other, err = smallRun(t.Context(), "classification", small, filepath.Join(dir, "beside-"+name), look); err != nil {
					t.Errorf("the other: %v", err)
				}
			})
			if _, err := smallRun(ctx, name, small, output, look); !errors.Is(err, context.Canceled) {
				t.Errorf("the interrupted run: %v", err)
			}
			wait.Wait()
			got, err := smallRun(t.Context(), name, small, output, func() {})
			if err != nil {
				t.Fatal(err)
			}
			for what, run := range map[string]*made{"classification": other, name: got} {
				want, err := smallRun(t.Context(), what, small, filepath.Join(dir, "alone-"+name+"-"+what), func() {})
				if err != nil {
					t.Fatal(err)
				}
				if run == got {
					run.said, run.steps = want.said, want.steps
				}
				if run != nil {
					same(t, run, want)
				}
			}
		})
	}
}

// TestABaseThatIsReplaced: a run over a folder whose base and tokenizer are others than they were when this process last ran over it has
// those that lie there now.
func TestABaseThatIsReplaced(t *testing.T) {
	dir := t.TempDir()
	run := func(from, output string) *made {
		t.Helper()
		m, err := smallRun(t.Context(), "domain", from, filepath.Join(dir, output), func() {})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	replaced, other := filepath.Join(dir, "replaced"), filepath.Join(dir, "other")
	for _, to := range []string{replaced, other} {
		if err := os.CopyFS(to, os.DirFS(small)); err != nil {
			t.Fatal(err)
		}
	}
	first := run(replaced, "output-first")
	for _, in := range []string{replaced, other} {
		for name, change := range map[string]func(b []byte) []byte{
			"model.safetensors": func(b []byte) []byte {
				b[len(b)-6] ^= 0x20 // of the norm before the head
				return b
			},
			"tokenizer.json": func(b []byte) []byte {
				return []byte(strings.NewReplacer(`"a": 97`, `"a": 98`, `"b": 98`, `"b": 97`).Replace(string(b)))
			},
		} {
			path := filepath.Join(in, "base", name)
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(path); err != nil { // the old one is mapped
				t.Fatal(err)
			}
			if err := os.WriteFile(path, change(raw), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, want := run(replaced, "output-then"), run(other, "output-other")
	for _, name := range []string{"shards/train-00000-of-00001.parquet", "stages/before.json", "adapter/adapter_model.safetensors"} {
		if got.files[name] == first.files[name] || got.files[name] != want.files[name] || want.files[name] == "" {
			t.Errorf("%s: that of the base before %v, that of another folder with the new one %v", name,
				got.files[name] == first.files[name],
				got.files[name] == want.files[name])
		}
	}
}

// same compares what a run gave with what it gave alone.
func same(t *testing.T, got, want *made) {
	t.Helper()
	if !slices.Equal(got.said, want.said) {
		t.Errorf("it says\n%s\nalone\n%s", strings.Join(got.said, "\n"), strings.Join(want.said, "\n"))
	}
	if !slices.Equal(got.steps, want.steps) {
		t.Errorf("it tells of the steps\n%s\nalone\n%s", strings.Join(got.steps, "\n"), strings.Join(want.steps, "\n"))
	}
	if a, b := slices.Sorted(maps.Keys(got.files)), slices.Sorted(maps.Keys(want.files)); !slices.Equal(a, b) {
		t.Errorf("it has the files %v, alone %v", a, b)
	}
	adapters, shards := 0, 0
	for f, text := range want.files {
		if got.files[f] != text {
			t.Errorf("%s is another\n%.400q\nalone\n%.400q", f, got.files[f], text)
		}
		if filepath.Base(f) == "adapter_model.safetensors" {
			adapters++
		}
		if filepath.Ext(f) == ".parquet" {
			shards++
		}
	}
	if adapters == 0 || shards == 0 {
		t.Errorf("it has %d adapters and %d shards", adapters, shards)
	}
}

// hostStays gives the process settings, as a host of adaptflow as a library does, until the test ends. It returns what looks whether they
// are still those, but for the loggers, of which one sees Prism for a moment when it starts: they are looked at when the test ends.
func hostStays(t *testing.T) (look func()) {
	t.Helper()
	var heard bytes.Buffer
	was, wasWriter, wasPercent, wasLimit := slog.Default(), log.Writer(), debug.SetGCPercent(123), debug.SetMemoryLimit(7<<30)
	logger := slog.New(slog.DiscardHandler)
	slog.SetDefault(logger)
	log.SetOutput(&heard)
	flags, environment := log.Flags(), os.Environ()
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	look = func() {
		garbage := []metrics.Sample{{Name: "/gc/gogc:percent"}, {Name: "/gc/gomemlimit:bytes"}}
		metrics.Read(garbage)
		if p, l := garbage[0].Value.Uint64(), garbage[1].Value.Uint64(); p != 123 || l != 7<<30 {
			t.Errorf("garbage is collected at %d %% and %d bytes", p, l)
		}
		if got, err := os.Getwd(); err != nil || got != cwd {
			t.Errorf("the folder of the process is %s (%v)", got, err)
		}
		if !slices.Equal(os.Environ(), environment) {
			t.Error("the environment is another")
		}
	}
	t.Cleanup(func() {
		look()
		if slog.Default() != logger || log.Flags() != flags || log.Writer() != &heard {
			t.Error("another logger is set")
		}
		slog.SetDefault(was)
		log.SetOutput(wasWriter)
		debug.SetGCPercent(wasPercent)
		debug.SetMemoryLimit(wasLimit)
	})
	return look
}
