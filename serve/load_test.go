package serve

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
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
	"github.com/adaptflow/adaptflow/internal/mem"
)

// loadCase is a request whose answer is known.
type loadCase struct {
	model, prompt string
	s             evaluate.Sampling
	want          []string // what may be said: of a name whose adapter changes, what any of them says
}

func (c *loadCase) body(stream bool) string {
	b, err := json.Marshal(map[string]any{"model": c.model, "prompt": c.prompt, "max_tokens": c.s.MaxNewTokens,
		"temperature": c.s.Temperature, "seed": c.s.Seed, "stream": stream})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// load is a server under load, and what came of it.
type load struct {
	t     *testing.T
	url   string
	cases []loadCase

	mu                              sync.Mutex
	took, first                     []time.Duration
	full, killed, changes, unloaded int
}

// TestLoad: clients that ask at random, vanish, and fill the queue, while adapters are loaded and unloaded and take each other's places:
// each answer is what generate says, memory stays within the plan, and nothing is left over. ADAPTFLOW_LOAD is for how long, such as 10m.
func TestLoad(t *testing.T) {
	length, err := time.ParseDuration(cmp.Or(os.Getenv("ADAPTFLOW_LOAD"), "2s"))
	if err != nil {
		t.Fatal(err)
	}
	base, dir := embedded(t), t.TempDir()
	folders := map[string][]string{"base": {""}, "x": nil}
	for i := range 9 {
		name := fmt.Sprintf("all/a%d", i)
		if i >= 6 {
			name = fmt.Sprintf("in/x%d", i)
			folders["x"] = append(folders["x"], name)
		} else {
			folders[filepath.Base(name)] = []string{name}
		}
		adapter(t, filepath.Join(dir, name), base, "LORA", small, i+3)
	}
	adapter(t, filepath.Join(dir, "all", "ia3"), base, "IA3", map[string]any{"target_modules": []string{"k_proj", "v_proj"},
		"feedforward_modules": []string{}}, 2)
	folders["ia3"] = []string{"all/ia3"}
	l := &load{t: t, cases: loadCases(t, base, dir, folders)}
	runtime.GC()
	before, err := mem.Resident()
	if err != nil {
		t.Skip(err)
	}
	held, threads := mem.Held(), runtime.NumGoroutine()
	e, err := NewLive(Options{Model: base, Name: "base", Adapters: Folders{Dir: filepath.Join(dir, "all")}, AdapterMemory: 240 << 10,
		Context: 160, Sequences: 6, Queue: 12, LoadFrom: filepath.Join(dir, "in")})
	if err != nil {
		t.Fatal(err)
	}
	if n := e.bank.Slots(); n >= len(folders) {
		t.Fatalf("%d slots: no adapter takes another's place", n)
	}
	s := New(e)
	s.Loads = true
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.url = "http://" + at.Addr().String()
	ctx, end := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, at, 10*time.Second) }()
	most, resident := l.run(length, e)
	stats := e.Stats()
	end()
	if err := <-served; err != nil {
		t.Error(err)
	}
	p := e.Plan()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
	if more := most - held; more > p.Total()-p.Heap {
		t.Errorf("%d bytes were held beside the heap; %d were planned", more, p.Total()-p.Heap)
	}
	if more := resident - before; more > p.Total() {
		t.Errorf("the process grew by %d bytes; %d were planned", more, p.Total())
	}
	for range 100 {
		if runtime.NumGoroutine() <= threads+2 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > threads+2 {
		t.Errorf("%d goroutines at the end, %d at the beginning", n, threads)
	}
	if len(l.took) == 0 || l.full == 0 || l.killed == 0 || l.changes == 0 || stats.AdapterEvictions == 0 || stats.CachedTokens == 0 {
		t.Errorf("%d answers, %d of a full queue, %d killed, %d changes, %d adapters gone, %d tokens shared: something was not tried",
			len(l.took), l.full, l.killed, l.changes, stats.AdapterEvictions, stats.CachedTokens)
	}
	t.Logf("%d answers as generate says, %d of a full queue, %d killed, %d unloaded; adapters changed %d times, and took places %d times; "+
		"whole answers took %s, first tokens %s; grew by %d MiB of %d planned", len(l.took), l.full, l.killed, l.unloaded, l.changes,
		stats.AdapterLoads, quantiles(l.took), quantiles(l.first), (resident-before)>>20, p.Total()>>20)
}

// quantiles are the median and the 99th part of a hundred.
func quantiles(d []time.Duration) string {
	if len(d) == 0 {
		return "nothing"
	}
	slices.Sort(d)
	return fmt.Sprintf("p50 %v p99 %v", d[len(d)/2].Round(time.Millisecond), d[len(d)*99/100].Round(time.Millisecond))
}

// loadCases are requests of each model, with what generate says.
func loadCases(t *testing.T, base, dir string, folders map[string][]string) (out []loadCase) {
	long := strings.Repeat("The river and the sea. ", 9)
	prompts := []string{"The city was built on a hill.", "She", long, long + "Once upon a time"}
	for name, list := range folders {
		from := len(out)
		for i, p := range prompts {
			out = append(out, loadCase{model: name, prompt: p, s: evaluate.Sampling{MaxNewTokens: 4 + 5*i}},
				loadCase{model: name, prompt: p, s: evaluate.Sampling{MaxNewTokens: 20, DoSample: true, Temperature: 1, Seed: uint64(i)}})
		}
		for _, f := range list {
			at := ""
			if f != "" {
				at = filepath.Join(dir, f)
			}
			m, err := infer.Load(base, "", at)
			if err != nil {
				t.Fatal(err)
			}
			for i := from; i < len(out); i++ {
				c, err := m.Generate(out[i].prompt, out[i].s, nil)
				if err != nil {
					t.Fatal(err)
				}
				out[i].want = append(out[i].want, c.Text)
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

// run loads the server for so long, and gives the most memory that was held and resident.
func (l *load) run(length time.Duration, e *Live) (most, resident int64) {
	ctx, end := context.WithTimeout(context.Background(), length)
	defer end()
	var wait sync.WaitGroup
	for i := range 8 {
		r := rand.New(rand.NewPCG(uint64(i), 1))
		wait.Go(func() {
			for ctx.Err() == nil {
				l.one(r)
			}
		})
	}
	wait.Go(func() { // more than the queue takes
		r := rand.New(rand.NewPCG(99, 1))
		for ctx.Err() == nil {
			var burst sync.WaitGroup
			for i := range 30 {
				r := rand.New(rand.NewPCG(r.Uint64(), uint64(i)))
				burst.Go(func() { l.one(r) })
			}
			burst.Wait()
			sleep(ctx, 400*time.Millisecond)
		}
	})
	wait.Go(func() { // another adapter by the same name, or none
		r := rand.New(rand.NewPCG(77, 1))
		for ctx.Err() == nil {
			path, body := "/v1/load_lora_adapter", fmt.Sprintf(`{"lora_name":"x","lora_path":"x%d","load_inplace":true}`, 6+r.IntN(3))
			if r.IntN(4) == 0 {
				path, body = "/v1/unload_lora_adapter", `{"lora_name":"x"}`
			}
			w, err := http.Post(l.url+path, "application/json", strings.NewReader(body))
			if err != nil {
				l.t.Error(err)
				return
			}
			w.Body.Close()
			if w.StatusCode == http.StatusOK {
				l.add(func() { l.changes++ })
			} else if w.StatusCode != http.StatusNotFound || !strings.Contains(path, "unload") {
				l.t.Errorf("%s: %d", path, w.StatusCode)
			}
			sleep(ctx, 150*time.Millisecond)
		}
	})
	wait.Go(func() {
		for ctx.Err() == nil {
			most = max(most, mem.Held())
			if n, err := mem.Resident(); err == nil {
				resident = max(resident, n)
			}
			sleep(ctx, 50*time.Millisecond)
		}
	})
	wait.Wait()
	for range 500 { // those that vanished are let go
		if s := e.Stats(); s.Running+s.Waiting == 0 {
			return most, resident
		}
		time.Sleep(10 * time.Millisecond)
	}
	l.t.Errorf("what nobody waits for goes on: %+v", e.Stats())
	return most, resident
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (l *load) add(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// one asks one request: whole, as a stream, or of a client that vanishes.
func (l *load) one(r *rand.Rand) {
	c := &l.cases[r.IntN(len(l.cases))]
	kill, stream := r.IntN(5) == 0, r.IntN(2) == 0
	ctx, vanish := context.WithCancel(context.Background())
	defer vanish()
	if kill {
		time.AfterFunc(time.Duration(r.IntN(60))*time.Millisecond, vanish)
	}
	q, err := http.NewRequestWithContext(ctx, "POST", l.url+"/v1/completions", strings.NewReader(c.body(stream)))
	if err != nil {
		l.t.Error(err)
		return
	}
	q.Header.Set("Content-Type", "application/json")
	began := time.Now()
	var first time.Duration
	text := ""
	w, err := http.DefaultClient.Do(q)
	if err == nil {
		defer w.Body.Close()
		switch {
		case w.StatusCode == http.StatusTooManyRequests:
			l.add(func() { l.full++ })
			return
		case w.StatusCode == http.StatusNotFound && c.model == "x":
			l.add(func() { l.unloaded++ })
			return
		case w.StatusCode != http.StatusOK:
			raw, _ := io.ReadAll(w.Body)
			l.t.Errorf("%s: %d %s", c.body(stream), w.StatusCode, raw)
			return
		}
		text, first, err = said200(w.Body, stream, began)
	}
	switch {
	case err != nil && kill && ctx.Err() != nil:
		l.add(func() { l.killed++ })
	case err != nil:
		l.t.Errorf("%s: %v", c.body(stream), err)
	case !slices.Contains(c.want, text):
		l.t.Errorf("%s: %q, and generate says %q", c.body(stream), text, c.want)
	default:
		l.add(func() {
			l.took = append(l.took, time.Since(began))
			if stream {
				l.first = append(l.first, first)
			}
		})
	}
}

// said200 reads the text of an answer, and when the first of a stream's came.
func said200(body io.Reader, stream bool, began time.Time) (text string, first time.Duration, err error) {
	type part struct {
		Choices []struct{ Text string }
	}
	if !stream {
		var p part
		if err := json.NewDecoder(body).Decode(&p); err != nil {
			return "", 0, err
		}
		return p.Choices[0].Text, 0, nil
	}
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		raw, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		if string(raw) == "[DONE]" {
			return text, first, nil
		}
		var p part
		if err := json.Unmarshal(raw, &p); err != nil || len(p.Choices) == 0 {
			return "", 0, fmt.Errorf("%s: %w", raw, err)
		}
		if first == 0 {
			first = time.Since(began)
		}
		text += p.Choices[0].Text
	}
	return "", 0, cmp.Or(lines.Err(), io.ErrUnexpectedEOF)
}
