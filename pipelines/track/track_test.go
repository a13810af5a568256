package track

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/train"
)

// server is what of MLflow's tracking server the tracker asks.
type server struct {
	sync.Mutex
	away     int // so many requests find no server
	hangs    time.Duration
	requests int
	auth     string
	exists   bool
	runs     int
	params   map[string]string
	got      map[string][]int // the steps of a metric
	status   string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Lock()
	defer s.Unlock()
	time.Sleep(s.hangs)
	s.requests++
	if s.away > 0 {
		s.away--
		http.Error(w, "busy", http.StatusServiceUnavailable)
		return
	}
	s.auth = r.Header.Get("Authorization")
	raw, _ := io.ReadAll(r.Body)
	var b struct {
		RunID   string `json:"run_id"`
		Status  string
		Metrics []point
		Params  []struct{ Key, Value string }
	}
	_ = json.Unmarshal(raw, &b)
	switch strings.TrimPrefix(r.URL.Path, "/tracking/api/2.0/mlflow/") {
	case "experiments/get-by-name":
		if !s.exists {
			http.Error(w, `{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no experiment"}`, http.StatusNotFound)
			return
		}
		fmt.Fprint(w, `{"experiment": {"experiment_id": "7"}}`)
	case "experiments/create":
		s.exists = true
		fmt.Fprint(w, `{"experiment_id": "7"}`)
	case "runs/create":
		s.runs++
		fmt.Fprintf(w, `{"run": {"info": {"run_id": "run%d"}}}`, s.runs)
	case "runs/log-batch":
		if len(b.Metrics) > 1000 || len(b.Params) > 100 || !strings.HasPrefix(b.RunID, "run") {
			http.Error(w, `{"message": "too many"}`, http.StatusBadRequest)
			return
		}
		for _, p := range b.Params {
			s.params[p.Key] = p.Value
		}
		for _, p := range b.Metrics {
			s.got[p.Key] = append(s.got[p.Key], p.Step)
		}
		fmt.Fprint(w, `{}`)
	case "runs/update":
		s.status = b.Status
		fmt.Fprint(w, `{}`)
	default:
		http.NotFound(w, r)
	}
}

func row(step int) Row {
	return Step(&train.StepInfo{Step: step, Loss: 1 / float64(step), Tokens: 10, Seconds: 1, Metrics: map[string]float64{"rewards/(x)": 1}})
}

// TestMLflow: every value comes once and in the order of its steps, whether the server is there, away for a while or slow; the training
// does not wait; a run that goes on is the same run there; a server that stays away is one warning and what was not sent.
func TestMLflow(t *testing.T) {
	const steps = 700
	for _, c := range []struct {
		name     string
		away     int
		hangs    time.Duration
		runID    string
		failed   bool
		warnings int
		lost     bool
	}{
		{name: "there"},
		{name: "a run that goes on", runID: "run9", failed: true},
		{name: "away for a while", away: 4, warnings: 1},
		{name: "slow", hangs: 30 * time.Millisecond},
		{name: "away for good", away: 1 << 30, warnings: 2, lost: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &server{away: c.away, hangs: c.hangs, params: map[string]string{}, got: map[string][]int{}}
			h := httptest.NewServer(s)
			defer h.Close()
			var mu sync.Mutex
			var warned []string
			kept := ""
			m := OpenMLflow(Settings{URI: h.URL + "/tracking", Experiment: "trials", Token: "secret", RunID: c.runID,
				Params: map[string]string{"model": "m", "long": strings.Repeat("é", 9999)}, Every: 5 * time.Millisecond,
				Patience: 500 * time.Millisecond, Keep: func(id string) error { kept = id; return nil },
				Warn: func(f string, a ...any) {
					mu.Lock()
					defer mu.Unlock()
					warned = append(warned, fmt.Sprintf(f, a...))
				}})
			begun := time.Now()
			for i := 1; i <= steps; i++ {
				m.Add(row(i))
				if i%100 == 0 {
					m.Add(Eval(&train.Eval{Step: i, Loss: 2}))
				}
			}
			if took := time.Since(begun); took > time.Second {
				t.Errorf("the training waited %s", took)
			}
			m.Close(c.failed)
			s.Lock()
			defer s.Unlock()
			if len(warned) != c.warnings || c.lost && !strings.Contains(warned[1], "were not sent") {
				t.Errorf("warned %q", warned)
			}
			if c.lost {
				return
			}
			if want := map[bool]string{false: "FINISHED", true: "FAILED"}[c.failed]; s.status != want || s.auth != "Bearer secret" {
				t.Errorf("status %q, authorization %q", s.status, s.auth)
			}
			if c.runID != "" {
				if s.runs != 0 || len(s.params) != 0 {
					t.Errorf("%d runs were made beside that which goes on", s.runs)
				}
			} else if kept != "run1" || s.runs != 1 || s.params["model"] != "m" ||
				len([]rune(s.params["long"])) != mlflowText {
				t.Errorf("run %q of %d, parameters %d", kept, s.runs, len(s.params))
			}
			for key, n := range map[string]int{"train/loss": steps, "train/rewards/_x_": steps, "eval/loss": steps / 100} {
				got := s.got[key]
				if len(got) != n {
					t.Fatalf("%s: %d values, want %d", key, len(got), n)
				}
				for i := 1; i < n; i++ {
					if got[i] <= got[i-1] {
						t.Fatalf("%s: step %d after %d", key, got[i], got[i-1])
					}
				}
			}
		})
	}
}

// TestFromEnv: MLflow's variables are read, and what is not the address of a server is refused.
func TestFromEnv(t *testing.T) {
	for uri, ok := range map[string]bool{"": false, "file:/tmp/mlruns": false, "http://localhost:5000": true,
		"https://ml.example/x": true} {
		t.Setenv("MLFLOW_TRACKING_URI", uri)
		if _, err := FromEnv(); (err == nil) != ok {
			t.Errorf("%q: %v", uri, err)
		}
	}
}

// TestLines: the file has a line a row, begins with what a run goes on from, and leaves out what is not a number.
func TestLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	st := &train.State{History: []train.StepInfo{{Step: 1, Loss: math.NaN()}, {Step: 2, Loss: 3}},
		Evals: []train.Eval{{Step: 2, Loss: 4}}}
	for range 2 { // the second goes on where the first was interrupted
		l, err := OpenLines(path, Rows(st))
		if err != nil {
			t.Fatal(err)
		}
		l.Add(row(3))
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines: %s", len(lines), raw)
	}
	var rows []map[string]float64
	for _, l := range lines {
		var v map[string]float64
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, v)
	}
	if _, ok := rows[0]["train/loss"]; ok || rows[1]["train/loss"] != 3 ||
		!maps.Equal(rows[2], map[string]float64{"step": 2, "eval/loss": 4}) || rows[3]["step"] != 3 {
		t.Errorf("%s", raw)
	}
}
