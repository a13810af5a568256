package serve

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/train"
)

func embedded(t testing.TB) string {
	t.Helper()
	dir, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var small = map[string]any{"r": 2, "target_modules": []string{"q_proj", "down_proj"}}

// adapter saves an adapter of a method whose values a seed gives, as a folder.
func adapter(t testing.TB, to, base, method string, config map[string]any, seed int) {
	t.Helper()
	m, err := infer.Load(base, "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := train.OpenAdapter(m.Base, "", method, config, base, 1)
	if err != nil {
		t.Fatal(err)
	}
	params, err := a.NewParams(1)
	if err != nil {
		t.Fatal(err)
	}
	defer params.Free()
	at := filepath.Join(t.TempDir(), "fresh")
	if err := a.Save(at, params, 0, peft.Card{}); err != nil {
		t.Fatal(err)
	}
	f := golden.Open(t, peft.TensorPath(at))
	var ts []safetensors.Tensor
	for _, n := range f.Names() {
		v := slices.Clone(f.F32(n))
		for i := range v {
			v[i] += 0.1 * float32(math.Sin(float64((i+1)*seed)))
		}
		ts = append(ts, safetensors.F32(n, v, f.Shape(n)...))
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(at, peft.ConfigFile))
	if err == nil {
		err = os.WriteFile(filepath.Join(to, peft.ConfigFile), raw, 0o644)
	}
	if err == nil {
		err = safetensors.Write(filepath.Join(to, "adapter_model.safetensors"), ts, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// live opens an engine over the embedded model.
func live(t testing.TB, o Options) *Live {
	t.Helper()
	if o.Model == "" {
		o.Model = embedded(t)
	}
	e, err := NewLive(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// all reads an answer to its end.
func all(a Answer) (ids []int32, err error) {
	defer a.Close()
	for {
		s, err := a.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return ids, nil
		}
		if err != nil {
			return ids, err
		}
		ids = append(ids, s.ID)
	}
}

type asking struct {
	name, text string
	s          evaluate.Sampling
}

func (q asking) ask(t testing.TB, e Engine) *Ask {
	t.Helper()
	v, err := e.Open(q.name)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := v.Frame.Prompt(q.text)
	if err != nil {
		t.Fatal(err)
	}
	return &Ask{v, evaluate.Sequence{Prompt: ids, Sampling: q.s, End: v.End, LogProbs: -1, Owner: "x"}}
}

// invocation are the tokens of a word of some of TestLive's texts.
func invocation(t *testing.T, base string) []int32 {
	t.Helper()
	tk, err := tokenize.Load(base)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := tk.AppendIDs(nil, " there", false)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// TestLive: whatever is asked at the same time, whoever goes, and however few adapters have room, each answer is that of generate with the
// adapter alone.
func TestLive(t *testing.T) {
	base, dir := embedded(t), t.TempDir()
	for i, name := range []string{"a", "b", "c", "d"} {
		adapter(t, filepath.Join(dir, name), base, "LORA", small, i+3)
	}
	adapter(t, filepath.Join(dir, "all"), base, "LORA", map[string]any{"r": 1, "target_modules": "all-linear"}, 3)
	for i, name := range []string{"invoked", "invoked2"} { // by the tokens of " there"
		adapter(t, filepath.Join(dir, name), base, "LORA", map[string]any{"r": 2, "target_modules": []string{"q_proj"},
			"alora_invocation_tokens": invocation(t, base)}, i+5)
	}
	adapter(t, filepath.Join(dir, "virtual"), base, "PROMPT_TUNING", map[string]any{"num_virtual_tokens": 3}, 3)
	names := []string{"base", "a", "b", "c", "d", "all", "virtual", "late", "invoked", "invoked2"}
	e := live(t, Options{Name: "base", Adapters: Folders{Dir: dir}, AdapterMemory: 400 << 10, Context: 96, Sequences: 4})
	if slots := e.bank.Slots(); slots >= 4 {
		t.Fatalf("%d slots: nothing is evicted", slots)
	}
	adapter(t, filepath.Join(dir, "late"), base, "LORA", map[string]any{"r": 3, "target_modules": []string{"v_proj"}}, 9)
	folders := map[string]*infer.Model{}
	for _, n := range names {
		at := filepath.Join(dir, n)
		if n == "base" {
			at = ""
		}
		m, err := infer.Load(base, "", at)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		folders[n] = m
	}
	texts := []string{"The city was built on a hill.", "She", "Once upon a time there was a man who had",
		strings.Repeat("The river and the sea. ", 9)}
	r := rand.New(rand.NewPCG(1, 2))
	var list []asking
	n := 40
	if testing.Short() {
		n = 12
	}
	for i := range n {
		q := asking{name: names[(i+r.IntN(2))%len(names)], text: texts[r.IntN(len(texts))]}
		q.s.MaxNewTokens = 1 + r.IntN(9)
		if r.IntN(2) == 0 {
			q.s.DoSample, q.s.Temperature, q.s.Seed = true, 1, uint64(r.IntN(3))
		}
		list = append(list, q)
	}
	var wait sync.WaitGroup
	got := make([][]int32, len(list))
	for i, q := range list {
		a, err := e.Start(q.ask(t, e))
		if err != nil {
			t.Fatal(err)
		}
		if i%7 == 3 {
			go func() {
				_, _ = a[0].Next(context.Background())
				a[0].Close()
			}()
			continue
		}
		wait.Go(func() {
			ids, err := all(a[0])
			if err != nil {
				t.Errorf("%s: %v", q.name, err)
			}
			got[i] = ids
		})
		if i%10 == 9 {
			time.Sleep(30 * time.Millisecond)
		}
	}
	wait.Wait()
	for i, q := range list {
		if got[i] == nil {
			continue
		}
		c, err := folders[q.name].Generate(q.text, q.s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(c.IDs, got[i]) {
			t.Errorf("%s of %.20q: %v, and generate says %v", q.name, q.text, got[i], c.IDs)
		}
	}
	if s := e.Stats(); s.AdapterEvictions == 0 {
		t.Error("nothing was evicted")
	}
	for s := e.Stats(); s.Running+s.Waiting > 0; s = e.Stats() {
		time.Sleep(time.Millisecond)
	}
}

// TestEmbedLive: vectors are those of the model with the adapter alone.
func TestEmbedLive(t *testing.T) {
	base, dir := embedded(t), t.TempDir()
	adapter(t, filepath.Join(dir, "a"), base, "LORA", small, 3)
	e := live(t, Options{Name: "base", Adapters: Folders{Dir: dir}, Context: 64})
	for _, name := range []string{"base", "a"} {
		at := ""
		if name == "a" {
			at = filepath.Join(dir, name)
		}
		m, err := infer.Load(base, "", at)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		want, err := m.Embed(infer.PoolMean, "A hill.", "She said so")
		if err != nil {
			t.Fatal(err)
		}
		x, y := asking{name: name, text: "A hill."}.ask(t, e), asking{name: name, text: "She said so"}.ask(t, e)
		got, err := e.Embed(context.Background(), x.Voice, infer.PoolMean, [][]int32{x.Prompt, y.Prompt})
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if !slices.Equal(want[i], got[i]) {
				t.Errorf("%s: vector %d differs", name, i)
			}
		}
	}
}

// TestFollows: an adapter whose folder is replaced is another from the next request on; what runs ends with the former.
func TestFollows(t *testing.T) {
	base, dir := embedded(t), t.TempDir()
	adapter(t, filepath.Join(dir, "run", "versions", "1"), base, "LORA", small, 3)
	adapter(t, filepath.Join(dir, "run", "versions", "2"), base, "LORA", small, 8)
	point := func(to string) {
		if err := os.WriteFile(filepath.Join(dir, "run", "current"), []byte("versions/"+to+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	point("1")
	e := live(t, Options{Name: "base", Adapters: Folders{Named: []infer.Named{{Name: "x", Dir: filepath.Join(dir, "run")}}}, Context: 64})
	q := asking{"x", "The city", evaluate.Sampling{MaxNewTokens: 24}}
	say := func(q asking) []int32 {
		a, err := e.Start(q.ask(t, e))
		if err != nil {
			t.Fatal(err)
		}
		ids, err := all(a[0])
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	first := say(q)
	running, err := e.Start(q.ask(t, e))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := running[0].Next(context.Background()); err != nil {
		t.Fatal(err)
	}
	point("2")
	second := say(q)
	rest, err := all(running[0])
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(first, second) {
		t.Error("the version is followed by no request")
	}
	adapter(t, filepath.Join(dir, "run", "versions", "2"), base, "LORA", small, 11)
	if slices.Equal(say(q), second) {
		t.Error("a folder that was written anew is not read again")
	}
	if !slices.Equal(rest, first[1:]) {
		t.Error("what was running has changed its adapter")
	}
}

// TestLiveRefuses: a full queue, an ended engine, prompts that do not fit, an adapter of another model, and a limit that holds nothing.
func TestLiveRefuses(t *testing.T) {
	base, dir := embedded(t), t.TempDir()
	adapter(t, filepath.Join(dir, "bad"), base, "LORA", small, 3)
	raw, err := os.ReadFile(filepath.Join(dir, "bad", peft.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bad", peft.ConfigFile), []byte(strings.Replace(string(raw), `"r": 2`, `"r": 5`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	kernels.FreeIdle()
	before := mem.Held()
	e := live(t, Options{Name: "base", Adapters: Folders{Dir: dir}, Context: 32, Sequences: 1, Queue: 2})
	long := asking{"base", "She", evaluate.Sampling{MaxNewTokens: 30}}
	if _, err := e.Open("none"); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown name gives %v", err)
	}
	if _, err := e.Start(long.ask(t, e), long.ask(t, e), long.ask(t, e)); !errors.Is(err, ErrFull) {
		t.Errorf("three in a queue of two give %v", err)
	}
	var own *Refused
	q := long.ask(t, e)
	q.Prompt = make([]int32, 32)
	if _, err := e.Start(q); !errors.As(err, &own) {
		t.Errorf("a long prompt gives %v", err)
	}
	a, err := e.Start(asking{"bad", "She", evaluate.Sampling{MaxNewTokens: 1}}.ask(t, e))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all(a[0]); !errors.As(err, &own) || strings.Contains(err.Error(), dir) {
		t.Errorf("an adapter of another shape gives %v", err)
	}
	a, err = e.Start(long.ask(t, e))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := all(a[0]); err != nil && !errors.Is(err, ErrClosed) {
		t.Errorf("an ended engine gives %v", err)
	}
	if _, err := e.Start(long.ask(t, e)); !errors.Is(err, ErrClosed) {
		t.Errorf("an ended engine takes what is asked: %v", err)
	}
	for range 50 {
		runtime.GC()
		kernels.FreeIdle()
		if mem.Held() <= before {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if after := mem.Held(); after > before {
		t.Errorf("%d bytes are held when all is closed", after-before)
	}
	if _, err := NewLive(Options{Model: base, MemoryLimit: 100 << 20}); err == nil || !strings.Contains(err.Error(), "memory limit") {
		t.Errorf("a limit of 100 MiB gives %v", err)
	}
	p, err := NewLive(Options{Model: base, MemoryLimit: 400 << 20, AdapterMemory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if got := p.Plan(); got.Total() > 400<<20 || got.Size.Context != 1024 {
		t.Errorf("the plan is %s", got)
	}
}
