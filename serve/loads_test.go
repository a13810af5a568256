package serve

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/nn"
)

// TestLoads: an adapter that is loaded answers under its name as its folder does; only what lies in the folder for it, is an adapter of the
// base and has a name that is free is loaded, for keys that see all models; what is unloaded is gone, while what runs ends with it.
func TestLoads(t *testing.T) {
	base, dir := embedded(t), t.TempDir()
	for i, name := range []string{"in/a", "in/b", "out/c", "named"} {
		adapter(t, filepath.Join(dir, name), base, "LORA", small, i+3)
	}
	if err := os.Symlink(filepath.Join(dir, "out", "c"), filepath.Join(dir, "in", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "in", "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	e := live(t, Options{Name: "base", Context: 64, LoadFrom: filepath.Join(dir, "in"),
		Adapters: Folders{Named: []infer.Named{{Name: "named", Dir: filepath.Join(dir, "named")}}}})
	s := New(e)
	if err := s.Keys.Add("all"); err != nil {
		t.Fatal(err)
	}
	if err := s.Keys.Add("some", "x*"); err != nil {
		t.Fatal(err)
	}
	ask := func(key, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+key)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	const load, unload = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
	if w := ask("all", load, `{"lora_name":"x","lora_path":"a"}`); w.Code != 403 {
		t.Errorf("without the flag: %d %s", w.Code, w.Body)
	}
	s.Loads = true
	for _, c := range []struct {
		key, path, body string
		status          int
	}{
		{"some", load, `{"lora_name":"x","lora_path":"a"}`, 403},
		{"all", load, `{"lora_name":"x"}`, 400}, {"all", load, `{"lora_path":"a"}`, 400}, {"all", load, `{"lora_name":3,"lora_path":"a"}`, 400},
		{"all", load, `{"lora_name":"x","lora_path":"../out/c"}`, 404}, {"all", load, `{"lora_name":"x","lora_path":"link"}`, 404},
		{"all", load, `{"lora_name":"x","lora_path":"` + filepath.Join(dir, "out", "c") + `"}`, 404},
		{"all", load, `{"lora_name":"x","lora_path":"empty"}`, 404}, {"all", load, `{"lora_name":"x","lora_path":"a\u0000"}`, 404},
		{"all", load, `{"lora_name":"base","lora_path":"a"}`, 400},
		{"all", load, `{"lora_name":"named","lora_path":"a","load_inplace":true}`, 400},
		{"all", unload, `{"lora_name":"named"}`, 404}, {"all", unload, `{"lora_name":"x"}`, 404}, {"all", unload, `{}`, 400},
		{"all", load, `{"lora_name":"x","lora_path":"a","is_3d_lora_weight":null}`, 200},
		{"all", load, `{"lora_name":"x","lora_path":"b"}`, 400},
		{"some", unload, `{"lora_name":"x"}`, 403},
	} {
		if w := ask(c.key, c.path, c.body); w.Code != c.status || strings.Contains(w.Body.String(), dir) {
			t.Errorf("%s %s by %s: %d %s", c.path, c.body, c.key, w.Code, w.Body)
		}
	}
	q := asking{"x", "The city", evaluate.Sampling{MaxNewTokens: 12}}
	says := func(folder string) []int32 {
		m, err := infer.Load(base, "", filepath.Join(dir, folder))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		out, err := m.Generate(q.text, q.s, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out.IDs
	}
	start := func() Answer {
		a, err := e.Start(q.ask(t, e))
		if err != nil {
			t.Fatal(err)
		}
		return a[0]
	}
	read := func(a Answer) []int32 {
		ids, err := all(a)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	if got := read(start()); !slices.Equal(got, says("in/a")) {
		t.Errorf("it says %v", got)
	}
	running := start()
	first, err := running.Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if w := ask("all", load, `{"lora_name":"x","lora_path":"b","load_inplace":true}`); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if got := read(start()); !slices.Equal(got, says("in/b")) {
		t.Errorf("loaded anew it says %v", got)
	}
	if w := ask("all", unload, `{"lora_name":"x"}`); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if _, err := e.Open("x"); err != ErrUnknown {
		t.Errorf("unloaded: %v", err)
	}
	if got := append([]int32{first.ID}, read(running)...); !slices.Equal(got, says("in/a")) {
		t.Errorf("what was running says %v", got)
	}
}

// TestLiveCacheDType: with keys and values in fewer bits, the plan is smaller, and answers are those of generate with the same.
func TestLiveCacheDType(t *testing.T) {
	base := embedded(t)
	m, err := infer.Load(base, "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m.CacheDType = nn.BFloat16
	e := live(t, Options{Name: "base", Context: 128, CacheDType: nn.BFloat16})
	if whole := live(t, Options{Name: "base", Context: 128}); e.Plan().Cache >= whole.Plan().Cache {
		t.Errorf("the cache takes %d bytes, and %d in float32", e.Plan().Cache, whole.Plan().Cache)
	}
	q := asking{"base", strings.Repeat("The river and the sea. ", 9), evaluate.Sampling{MaxNewTokens: 30}}
	want, err := m.Generate(q.text, q.s, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.Start(q.ask(t, e), q.ask(t, e))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range a {
		if got, err := all(x); err != nil || !slices.Equal(got, want.IDs) {
			t.Errorf("%v, %v; want %v", got, err, want.IDs)
		}
	}
}

// TestShares: what a key's requests of one model begin with is read once, and never taken from another key's or another model's; what
// the adapter has become since takes nothing either. No answer changes by it.
func TestShares(t *testing.T) {
	base, dir := embedded(t), t.TempDir()
	adapter(t, filepath.Join(dir, "a"), base, "LORA", small, 3)
	adapter(t, filepath.Join(dir, "invoked"), base, "LORA", map[string]any{"r": 1, "target_modules": []string{"q_proj"},
		"alora_invocation_tokens": invocation(t, base)}, 3)
	info, err := os.Stat(filepath.Join(dir, "a", "adapter_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	e := live(t, Options{Name: "base", Context: 128, Adapters: Folders{Dir: dir}, AdapterMemory: info.Size() * 3 / 2})
	if n := e.bank.Slots(); n != 1 {
		t.Fatalf("%d slots: an adapter never takes the place of another", n)
	}
	s := New(e)
	for _, key := range []string{"one", "two"} {
		if err := s.Keys.Add(key); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("The river and the sea. ", 9)
	said := map[string]string{}
	for i, c := range []struct {
		key, model string
		shared     bool
	}{{"one", "base", false}, {"two", "base", false}, {"one", "a", false}, {"one", "base", true}, {"two", "base", true},
		{"two", "a", false}, {"one", "a", true}, {"", "", false}, {"one", "a", false}, {"one", "invoked", false},
		{"one", "invoked", false}} {
		if c.key == "" {
			adapter(t, filepath.Join(dir, "a"), base, "LORA", small, 3+i)
			delete(said, "a")
			continue
		}
		m := object(t, post(s, "/v1/completions", `{"model":"`+c.model+`","prompt":"`+long+`","max_tokens":8,"temperature":0}`,
			"Authorization", "Bearer "+c.key))
		cached, _ := dig(m, "usage", "prompt_tokens_details", "cached_tokens").(float64)
		prompt, _ := dig(m, "usage", "prompt_tokens").(float64)
		if (cached == prompt-1) != c.shared || !c.shared && cached != 0 {
			t.Errorf("request %d takes %g of %g tokens", i, cached, prompt)
		}
		text := answerOf(m)
		if old, ok := said[c.model]; ok && old != text {
			t.Errorf("request %d says %q, the first %q", i, text, old)
		}
		said[c.model] = text
	}
}
