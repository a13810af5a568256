package infer

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"

	"github.com/adaptflow/adaptflow/evaluate"
	core "github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/peft/pefttest"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/jobs/jobstest"
)

func TestMain(m *testing.M) { jobstest.Main(m) }

func init() {
	beam.RegisterFunction(named)
	beam.RegisterFunction(timed)
	beam.RegisterDoFn(&keepFn{})
	beam.RegisterType(reflect.TypeFor[asking]())
}

// asking is a row as tests create it.
type asking struct {
	Adapter, ID, Text string
	Second            int64
}

func named(a asking, emit func(string, Row)) { emit(a.Adapter, Row{a.ID, a.Text}) }

func timed(a asking, emit func(beam.EventTime, string, Row)) {
	emit(mtime.FromTime(time.Unix(a.Second, 0)), a.Adapter, Row{a.ID, a.Text})
}

// kept are the outputs of the jobs of a test, as JSON, behind their windows where these are not global.
var kept struct {
	sync.Mutex
	lines []string
}

type keepFn struct{}

func (*keepFn) ProcessElement(w beam.Window, v beam.X) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	line := string(raw)
	if w, ok := w.(window.IntervalWindow); ok {
		line = fmt.Sprintf("%d-%d %s", w.Start/1000, w.End/1000, line)
	}
	kept.Lock()
	defer kept.Unlock()
	kept.lines = append(kept.lines, line)
	return nil
}

// answers runs a transform over rows, a Create for each of the parts, and gives what it emits, sorted.
func answers(t *testing.T, rows []asking, parts int, windows *window.Fn,
	f func(s beam.Scope, rows beam.PCollection) (out, dead beam.PCollection)) []string {
	t.Helper()
	kept.lines = nil
	p, s := beam.NewPipelineWithRoot()
	var cols []beam.PCollection
	for i := range parts {
		part := beam.CreateList(s, rows[len(rows)*i/parts:len(rows)*(i+1)/parts])
		if windows != nil {
			cols = append(cols, beam.WindowInto(s, windows, beam.ParDo(s, timed, part)))
		} else {
			cols = append(cols, beam.ParDo(s, named, part))
		}
	}
	out, dead := f(s, beam.Flatten(s, cols...))
	beam.ParDo0(s, &keepFn{}, out)
	beam.ParDo0(s, &keepFn{}, dead)
	if err := jobs.Prism(context.Background(), p, "answers"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Close(); err != nil {
			t.Error(err)
		}
	})
	slices.Sort(kept.lines)
	return kept.lines
}

func base(t testing.TB) string {
	t.Helper()
	dir, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// save saves a new adapter whose values are changed by a seed, so that it says something of its own.
func save(t testing.TB, to, method string, config map[string]any, task model.Task, seed int) {
	t.Helper()
	m, err := model.LoadTask(base(t), "float32", task)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	pefttest.Save(t, to, method, config, nn.Sites(m), peft.Env{ModelType: m.Config.ModelType}, seed)
}

// adapters are a folder of three that can be mixed, of different methods and places, one with virtual tokens, and a classifier.
func adapters(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	save(t, filepath.Join(dir, "ann"), "LORA", map[string]any{"r": 2, "target_modules": []string{"q_proj", "down_proj"}}, model.Task{}, 3)
	save(t, filepath.Join(dir, "bob"), "LORA", map[string]any{"r": 4, "target_modules": "all-linear"}, model.Task{}, 5)
	save(t, filepath.Join(dir, "ia3"), "IA3", map[string]any{"target_modules": []string{"k_proj"}, "feedforward_modules": []string{}},
		model.Task{}, 7)
	save(t, filepath.Join(dir, "virtual"), "PROMPT_TUNING", map[string]any{"num_virtual_tokens": 3}, model.Task{}, 9)
	save(t, filepath.Join(dir, "topics"), "LORA", map[string]any{"r": 2, "target_modules": []string{"q_proj"}, "task_type": "SEQ_CLS"},
		model.Task{Type: "SEQ_CLS", NumLabels: 3, Seed: 1}, 11)
	return dir
}

var texts = []string{"The city was built on a hill.", "She", "Once upon a time there was a",
	"What the two gentlemen had been in was a house", "I", "A few minutes before the train"}

// rows are each text asked of each adapter, and some that have no answer.
func rows() (out []asking) {
	for i, text := range texts {
		for k, name := range []string{"", "ann", "bob", "ia3", "virtual"} {
			out = append(out, asking{Adapter: name, Text: text, Second: int64(5 * (i + k))})
		}
	}
	return append(out, asking{Adapter: peft.BaseName, ID: "by its name", Text: texts[0]}, asking{Adapter: "ann", ID: "nothing"},
		asking{Adapter: "nobody", Text: "x"}, asking{Adapter: "./ann", Text: "x"}, asking{Adapter: "bob", Text: "\xff"},
		asking{Adapter: "bob", ID: "long", Text: strings.Repeat("house ", 5000)}, asking{Adapter: "topics", Text: texts[0]})
}

// reasons count the dead letters among outputs.
func reasons(lines []string) map[string]int {
	out := map[string]int{}
	for _, l := range lines {
		var d DeadLetter
		if err := json.Unmarshal([]byte(l), &d); err == nil && d.Reason != "" {
			out[d.Reason]++
		}
	}
	return out
}

// TestAnswers: each transform answers alike with one bucket and seven, in whatever order and parts the rows come, with all adapters held
// and with one at a time; and rows without an answer are dead letters with a reason.
func TestAnswers(t *testing.T) {
	dir := adapters(t)
	sampling := evaluate.Sampling{MaxNewTokens: 6, DoSample: true, Temperature: 0.9, Seed: 4}
	all := rows()
	turned := slices.Clone(all)
	slices.Reverse(turned)
	turned = append(turned[11:], turned[:11]...)
	type transform = func(s beam.Scope, rows beam.PCollection) (out, dead beam.PCollection)
	bad := func(more map[string]int) map[string]int {
		out := map[string]int{core.RefusedEmpty: 1, core.RefusedUnknown: 2, core.RefusedUTF8: 1, core.RefusedLong: 1}
		maps.Copy(out, more)
		return out
	}
	for name, c := range map[string]struct {
		f    func(Config) transform
		dead map[string]int
		rows []asking
	}{
		"generate": {func(c Config) transform {
			return func(s beam.Scope, p beam.PCollection) (beam.PCollection, beam.PCollection) {
				return Generate(s, c, sampling, p)
			}
		}, bad(map[string]int{core.RefusedClasses: 1}), nil},
		"score": {func(c Config) transform {
			return func(s beam.Scope, p beam.PCollection) (beam.PCollection, beam.PCollection) { return Score(s, c, p) }
		}, bad(map[string]int{core.RefusedClasses: 1}), nil},
		"embed": {func(c Config) transform {
			return func(s beam.Scope, p beam.PCollection) (beam.PCollection, beam.PCollection) {
				return Embed(s, c, core.PoolMean, p)
			}
		}, bad(nil), nil},
		"classify": {func(c Config) transform {
			return func(s beam.Scope, p beam.PCollection) (beam.PCollection, beam.PCollection) { return Classify(s, c, p) }
		}, map[string]int{core.RefusedNoClasses: 1}, []asking{{Adapter: "topics", Text: texts[0]}, {Adapter: "topics", Text: texts[1]},
			{Adapter: "ann", Text: texts[0]}, {Adapter: "topics", Text: texts[2]}}},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := all, turned
			if c.rows != nil {
				first, second = c.rows, slices.Clone(c.rows)
				slices.Reverse(second)
			}
			cfg := Config{Model: base(t), AdaptersDir: dir, Buckets: 1}
			one := answers(t, first, 1, nil, c.f(cfg))
			if len(one) != len(first) {
				t.Fatalf("%d rows in, %d answers and dead letters out", len(first), len(one))
			}
			if got := reasons(one); !reflect.DeepEqual(got, c.dead) {
				t.Errorf("dead letters %v, want %v", got, c.dead)
			}
			if strings.Contains(one[0], `"id":""`) {
				t.Errorf("a row has no id: %s", one[0])
			}
			cfg.Buckets, cfg.Held = 7, 1
			seven := answers(t, second, 5, nil, c.f(cfg))
			if !slices.Equal(one, seven) {
				for i := range one {
					if one[i] != seven[i] {
						t.Fatalf("the answers depend on buckets and order:\n%.300s\n%.300s", one[i], seven[i])
					}
				}
			}
		})
	}
}

// TestAsAlone: what the transforms answer is what a model with the adapter alone does, and adapters differ.
func TestAsAlone(t *testing.T) {
	dir := adapters(t)
	s := evaluate.Sampling{MaxNewTokens: 5}
	said := map[string]string{}
	got := answers(t, rows(), 1, nil, func(sc beam.Scope, p beam.PCollection) (beam.PCollection, beam.PCollection) {
		return Generate(sc, Config{Model: base(t), Adapters: map[string]string{"ann": filepath.Join(dir, "ann")}, AdaptersDir: dir}, s, p)
	})
	for _, l := range got {
		var c Completion
		if err := json.Unmarshal([]byte(l), &c); err != nil {
			t.Fatal(err)
		}
		said[c.Adapter+"/"+c.ID] = c.Text
	}
	different := map[string]bool{}
	for _, name := range []string{"", "ann", "bob", "virtual"} {
		folder := ""
		if name != "" {
			folder = filepath.Join(dir, name)
		}
		m, err := core.Load(base(t), "", folder)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		want, err := m.Generate(texts[0], s, nil)
		if err != nil {
			t.Fatal(err)
		}
		for key, text := range said {
			if a, k, _ := strings.Cut(key, "/"); a == name && k == idOf(texts[0]) {
				if text != want.Text {
					t.Errorf("%q says %q, alone %q", name, text, want.Text)
				}
				different[text] = true
			}
		}
	}
	if len(different) < 3 {
		t.Errorf("the adapters say %v", different)
	}
}

// TestWindows: answers and dead letters are in the windows of their rows, and are those that there are without windows.
func TestWindows(t *testing.T) {
	dir := adapters(t)
	f := func(s beam.Scope, p beam.PCollection) (beam.PCollection, beam.PCollection) {
		return Score(s, Config{Model: base(t), AdaptersDir: dir, Buckets: 2}, p)
	}
	all := rows()
	plain := answers(t, all, 1, nil, f)
	want := map[string]string{}
	for _, a := range all {
		id := a.ID
		if id == "" {
			id = idOf(a.Text)
		}
		if a.Adapter == peft.BaseName {
			a.Adapter = ""
		}
		want[a.Adapter+"/"+id] = fmt.Sprintf("%d-%d", a.Second/10*10, a.Second/10*10+10)
	}
	got := answers(t, all, 3, window.NewFixedWindows(10*time.Second), f)
	var bare []string
	seen := map[string]bool{}
	for _, l := range got {
		w, l, _ := strings.Cut(l, " ")
		bare = append(bare, l)
		var a struct{ Adapter, ID string }
		if err := json.Unmarshal([]byte(l), &a); err != nil {
			t.Fatal(err)
		}
		if w != want[a.Adapter+"/"+a.ID] {
			t.Errorf("the answer to %s of %q is in the window %s, its row in %s", a.ID, a.Adapter, w, want[a.Adapter+"/"+a.ID])
		}
		seen[w] = true
	}
	slices.Sort(bare)
	if !slices.Equal(bare, plain) {
		t.Error("with windows the answers are others")
	}
	if len(seen) < 4 {
		t.Errorf("all is in the windows %v", seen)
	}
}
