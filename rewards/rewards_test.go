package rewards

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

func tokens(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i)
	}
	return out
}

// TestTable: rewards of answers; the numbers are TRL's where TRL has the function (its documentation's examples among them).
func TestTable(t *testing.T) {
	set := func(kv ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i].(string)] = kv[i+1]
		}
		return m
	}
	nan := math.NaN()
	said := func(text, right string) Answer { return Answer{Completion: text, Right: right} }
	for _, c := range []struct {
		settings map[string]any
		answer   Answer
		want     float64
	}{
		{set("name", "accuracy"), said(`so it is \boxed{\frac{1}{3}}`, `\frac{1}{3}`), 1},
		{set("name", "accuracy"), said(`so it is \boxed{\frac{1}{2}}`, `\frac{1}{3}`), 0},
		{set("name", "accuracy"), said("1,200 and 3 make 1,203.", "#### 1203"), 1},
		{set("name", "accuracy"), said("12", "12.0"), 1},
		{set("name", "accuracy"), said("-12", "12"), 0},
		{set("name", "accuracy"), said("none", "12"), 0},
		{set("name", "accuracy"), said("12", ""), nan},
		{set("name", "accuracy"), said(" yes  it\nis ", "yes it is"), 1},
		{set("name", "accuracy", "by", "exact"), said("Yes", "yes"), 0},
		{set("name", "accuracy", "by", "contains", "right", 2, "wrong", -1), said("I say yes", "yes"), 2},
		{set("name", "accuracy", "by", "begins", "wrong", -1), said("I say yes", "yes"), -1},
		{set("name", "accuracy", "within", 0.1), said("0.35", "0.3"), 1},
		{set("name", "accuracy", "after", "</think>"), said("<think>7</think> 8", "8"), 1},
		{set("name", "accuracy", "after", "</think>"), said("8", "8"), 0},
		{set("name", "accuracy", "before", "\n"), said(" 8\n9", "8"), 1},
		{set("name", "accuracy", "before", "\n"), said(" 9\n8", "8"), 0},
		{set("name", "format", "pattern", `^\d+$`), said("123", ""), 1},
		{set("name", "format", "pattern", `^\d+$`), said("123.", ""), 0},
		{set("name", "think_format"), said("<think>\nThis is my reasoning.\n</think>\nThis is my answer.", ""), 1},
		{set("name", "think_format"), said("<think>\nThis is my reasoning.\nThis is my answer.", ""), 0},
		{set("name", "think_format"), said("<think> <think> </think>", ""), 0},
		{set("name", "soft_overlong_punishment", "max_completion_len", 100, "soft_punish_cache", 20), Answer{IDs: tokens(90)}, -0.5},
		{set("name", "soft_overlong_punishment", "max_completion_len", 100, "soft_punish_cache", 20), Answer{IDs: tokens(80)}, 0},
		{set("name", "soft_overlong_punishment", "max_completion_len", 100, "soft_punish_cache", 20), Answer{IDs: tokens(101)}, -1},
		{set("name", "repetition_penalty", "ngram_size", 2), Answer{IDs: []int32{1, 2, 3, 4}}, 0},
		{set("name", "repetition_penalty", "ngram_size", 2), Answer{IDs: []int32{5, 5, 5, 5, 5}}, -0.75},
		{set("name", "repetition_penalty"), Answer{IDs: []int32{5, 5}}, 0},
		{set("name", "cosine_scaled", "max_len", 100), Answer{Completion: "3", Right: "3", IDs: tokens(50)}, 0.75},
		{set("name", "cosine_scaled", "max_len", 100), Answer{Completion: "4", Right: "3", IDs: tokens(50)}, -0.75},
		{set("name", "cosine_scaled", "max_len", 100), Answer{Completion: "4", Right: "3", IDs: tokens(500)}, -0.5},
		{set("name", "cosine_scaled", "max_len", 100), Answer{Completion: "4", IDs: tokens(50)}, nan},
	} {
		_, w, err := New(c.settings)
		if err != nil {
			t.Fatal(err)
		}
		got, err := w.Score(t.Context(), []Answer{c.answer})
		if err != nil || !(math.Abs(got[0]-c.want) < 1e-12 || math.IsNaN(got[0]) && math.IsNaN(c.want)) {
			t.Errorf("%v of %q: %v, want %g (%v)", c.settings, c.answer.Completion, got, c.want, err)
		}
	}
	for want, s := range map[string]map[string]any{
		`the reward "acuracy" is unknown; known are accuracy, format`: set("name", "acuracy"),
		`the settings of the reward accuracy: json: unknown field`:    set("name", "accuracy", "bye", "x"),
		"by is \"x\"":           set("name", "accuracy", "by", "x"),
		"pattern is empty":      set("name", "format"),
		"pattern: error":        set("name", "format", "pattern", "("),
		"has no settings":       set("name", "think_format", "x", 1),
		"command names no":      set("name", "program"),
		"url is \"ftp://x\"":    set("name", "endpoint", "url", "ftp://x"),
		"timeout is 0":          set("name", "endpoint", "url", "http://x", "timeout", 0),
		"max_len must be":       set("name", "cosine_scaled"),
		"ngram_size is 0":       set("name", "repetition_penalty", "ngram_size", 0),
		"max_completion_len is": set("name", "soft_overlong_punishment"),
	} {
		if _, _, err := New(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", s, err, want)
		}
	}
	if _, err := NewSet(nil); err == nil || !strings.Contains(err.Error(), "names no reward") {
		t.Error(err)
	}
	twice := []map[string]any{set("name", "think_format"), set("name", "think_format")}
	if _, err := NewSet(twice); err == nil || !strings.Contains(err.Error(), "name one of them by as") {
		t.Error(err)
	}
	twice[1]["as"] = "again"
	if s, err := NewSet(twice); err != nil || !slices.Equal(s.Names, []string{"think_format", "again"}) {
		t.Error(s, err)
	}
}

// script is a program of /bin/sh that counts in a file how often it ran.
func script(t *testing.T, body string) (command []string, count func() int) {
	t.Helper()
	dir := t.TempDir()
	path, ran := filepath.Join(dir, "reward.sh"), filepath.Join(dir, "ran")
	if err := os.WriteFile(path, []byte("echo x >> "+ran+"\n"+body+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"/bin/sh", path}, func() int {
		raw, _ := os.ReadFile(ran)
		return strings.Count(string(raw), "x")
	}
}

func asked(t *testing.T, w Reward, cache string, texts ...string) ([]float64, error) {
	t.Helper()
	if err := w.(Opener).Open(Env{Cache: cache}); err != nil {
		t.Fatal(err)
	}
	defer w.(Opener).Close()
	var answers []Answer
	for _, x := range texts {
		answers = append(answers, Answer{Prompt: "p", Completion: x})
	}
	return w.Score(t.Context(), answers)
}

// TestProgram: a program's rewards are kept by content, for another run too; what is wrong with it is one line.
func TestProgram(t *testing.T) {
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("no /bin/sh")
	}
	command, ran := script(t, `while read -r l; do case "$l" in *good*) echo 1.5;; *none*) echo null;; *) echo '{"reward": -1}';; esac; done`)
	cache := filepath.Join(t.TempDir(), "kept")
	for i := range 2 {
		w := NewProgram()
		w.Command = command
		got, err := asked(t, w, cache, "good", "bad", "good", "none")
		if err != nil || got[0] != 1.5 || got[1] != -1 || got[2] != 1.5 || !math.IsNaN(got[3]) || ran() != 1 {
			t.Fatalf("time %d: %v, %v, ran %d times", i, got, err, ran())
		}
	}
	w := NewProgram()
	w.Command = command
	if got, err := asked(t, w, cache, "good", "another"); err != nil || got[1] != -1 || ran() != 2 {
		t.Errorf("%v, %v, ran %d times", got, err, ran())
	}
	for want, body := range map[string]string{
		"exit status 3: no idea":           "echo no idea >&2; exit 3",
		"line 1, \"NaN\", is not a reward": "echo NaN",
		"says 1 rewards of 2 answers":      "echo 1",
		"is not a reward: want a number":   "echo '{\"score\": 1}'; echo 1",
		"said nothing within timeout, 0.3": "exec sleep 60",
	} {
		w := NewProgram()
		w.Timeout, w.Retries = 0.3, 1
		var ran func() int
		w.Command, ran = script(t, body)
		_, err := asked(t, w, "", "a", "b")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || ran() != 2 {
			t.Errorf("%s: %v, want %q; ran %d times", body, err, want, ran())
		}
	}
	w = NewProgram()
	w.Command = []string{filepath.Join(t.TempDir(), "nothing")}
	if _, err := asked(t, w, "", "a"); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Error(err)
	}
}

// TestEndpoint: an endpoint that fails once is asked again.
func TestEndpoint(t *testing.T) {
	var calls atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		raw, _ := io.ReadAll(r.Body)
		for line := range strings.Lines(string(raw)) {
			fmt.Fprintln(w, len(line))
		}
	}))
	defer s.Close()
	w := NewEndpoint()
	w.URL, w.Batch = s.URL, 2
	got, err := asked(t, w, "", "a", "bb", "ccc")
	if err != nil || got[1] != got[0]+1 || got[2] != got[0]+2 || calls.Load() != 3 {
		t.Errorf("%v, %v, %d calls", got, err, calls.Load())
	}
	calls.Store(0)
	w = NewEndpoint()
	w.URL, w.Retries = s.URL, 0
	if _, err := asked(t, w, "", "a"); err == nil || !strings.Contains(err.Error(), "503 Service Unavailable: not now") {
		t.Error(err)
	}
}

// TestRegister: a function of a program's own.
func TestRegister(t *testing.T) {
	defer func(was []Row) { Table = was }(Table)
	short := Func(func(a Answer) float64 { return yes(len(a.Completion) < 3) })
	Register(Row{"short", "1 for a short answer", func() Reward { return short }})
	s, err := NewSet([]map[string]any{{"name": "short"}, {"name": "think_format"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Score(context.Background(), []Answer{{Completion: "ab"}, {Completion: "abc"}}); err != nil || got[0][0] != 1 ||
		got[1][0] != 0 || len(got[0]) != 2 {
		t.Error(got, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a second row of the name is taken")
		}
	}()
	Register(Table[0])
}
