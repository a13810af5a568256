package serve

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/tokenize/chat"
)

// fake is an engine without a model: it says a text whatever it is asked.
type fake struct {
	voice *Voice
	names []string
	says  string
	err   error // of Start
	after int   // tokens after which fails is an answer's error; 0 for never
	fails error
	hangs bool // answers never end

	mu     sync.Mutex
	asks   []*Ask
	closed int
}

func newFake(t testing.TB) *fake {
	t.Helper()
	dir := embedded(t)
	tk, err := tokenize.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	frame, err := tokenize.Ends{}.Frame(tk)
	if err != nil {
		t.Fatal(err)
	}
	templates, err := chat.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &fake{names: []string{"base", "my-adapter", "team-a"}, says: "So “it” is a — naïve — text.",
		voice: &Voice{Tokenizer: tk, Frame: frame, Chat: templates, Dir: dir, End: []int32{0, 3}, BOS: 0, Context: 512,
			Vocab: tk.VocabSize()}}
}

func (f *fake) Models() []Model {
	out := []Model{{Name: f.names[0], Context: f.voice.Context}}
	for _, n := range f.names[1:] {
		out = append(out, Model{Name: n, Parent: f.names[0]})
	}
	return out
}

func (f *fake) Open(name string) (*Voice, error) {
	if !slices.Contains(f.names, name) {
		return nil, ErrUnknown
	}
	v := *f.voice
	v.Name = name
	return &v, nil
}

func (f *fake) Start(asks ...*Ask) (out []Answer, err error) {
	if f.err != nil {
		return nil, f.err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asks = append(f.asks, asks...)
	for _, a := range asks {
		x := &fakeAnswer{f: f}
		tell := func(id int32, place int) {
			s := evaluate.Said{TokenProb: evaluate.TokenProb{ID: id, LogProb: -0.25 * float64(place)}, Place: place}
			for i := range max(a.LogProbs, 0) {
				s.Top = append(s.Top, evaluate.TokenProb{ID: id + int32(i), LogProb: s.LogProb - float64(i)})
			}
			x.said = append(x.said, s)
		}
		if a.Echo {
			for i, id := range a.Prompt[1:] {
				tell(id, i+1)
			}
		}
		ids, err := f.voice.Tokenizer.AppendIDs(nil, f.says, false)
		if err != nil {
			return nil, err
		}
		for i, id := range append(ids, 3) {
			if i == a.Sampling.MaxNewTokens {
				break
			}
			tell(id, len(a.Prompt)+i)
			x.said[len(x.said)-1].Ended = id == 3
		}
		if n := len(x.said); n > 0 {
			x.said[n-1].Last = true
		}
		out = append(out, x)
	}
	return out, nil
}

func (f *fake) Embed(_ context.Context, _ *Voice, _ infer.Pooling, texts [][]int32) (out [][]float32, err error) {
	for _, t := range texts {
		out = append(out, []float32{float32(len(t)), 0.1, -2})
	}
	return out, f.err
}

func (f *fake) Stats() Stats {
	return Stats{Running: 2, Rows: 10, RowsUsed: 5, Adapters: map[string]int{"my-adapter": 1}}
}

type fakeAnswer struct {
	f    *fake
	said []evaluate.Said
	told int
}

func (a *fakeAnswer) Next(ctx context.Context) (evaluate.Said, error) {
	switch {
	case a.f.fails != nil && a.told >= a.f.after:
		return evaluate.Said{}, a.f.fails
	case a.told == len(a.said) && a.f.hangs:
		<-ctx.Done()
		return evaluate.Said{}, ctx.Err()
	case a.told == len(a.said):
		return evaluate.Said{}, io.EOF
	}
	a.told++
	s := a.said[a.told-1]
	if a.f.hangs {
		s.Last, s.Ended = false, false
	}
	return s, nil
}

func (a *fakeAnswer) Close() {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	a.f.closed++
}

// post asks a server without a connection.
func post(s http.Handler, path, body string, head ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return do(s, r, head...)
}

func do(s http.Handler, r *http.Request, head ...string) *httptest.ResponseRecorder {
	for i := 0; i < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func get(s http.Handler, path string, head ...string) *httptest.ResponseRecorder {
	return do(s, httptest.NewRequest("GET", path, nil), head...)
}

// object is an answer's JSON.
func object(t testing.TB, w *httptest.ResponseRecorder) (m map[string]any) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return m
}

// dig follows names and indices into JSON.
func dig(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// events are the events of a stream; the last must be [DONE].
func events(t testing.TB, w *httptest.ResponseRecorder) (out []map[string]any) {
	t.Helper()
	if got := w.Header().Get("Content-Type"); w.Code != 200 || got != "text/event-stream" {
		t.Fatalf("%d, %s: %s", w.Code, got, w.Body)
	}
	parts := strings.Split(w.Body.String(), "\n\n")
	if n := len(parts); n < 2 || parts[n-1] != "" || parts[n-2] != "data: [DONE]" {
		t.Fatalf("the stream does not end with [DONE]: %q", w.Body)
	}
	for _, p := range parts[:len(parts)-2] {
		var m map[string]any
		if err := json.Unmarshal([]byte(strings.TrimPrefix(p, "data: ")), &m); err != nil {
			t.Fatalf("%v: %q", err, p)
		}
		out = append(out, m)
	}
	return out
}
