package track

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// MLflow sends rows to an MLflow tracking server by its REST interface (api/2.0/mlflow). Add returns at once: a goroutine sends what has
// come since, tries again where the server is away, each time later, and Close sends what is left. Of a server that stays away there is one
// warning. All requests of one MLflow have its run.
type MLflow struct {
	Settings
	run string // the run's id, once it is made

	mu      sync.Mutex
	rows    []point
	wake    chan struct{}
	stopped chan struct{}
	failed  error
	warned  bool
	closing bool
	status  string
}

// Settings say where an MLflow server is and what the run there is called.
type Settings struct {
	URI        string // of the server, MLFLOW_TRACKING_URI
	Experiment string // MLFLOW_EXPERIMENT_NAME; "Default" where empty
	Name       string // of the run
	Token      string // MLFLOW_TRACKING_TOKEN
	User       string // MLFLOW_TRACKING_USERNAME, with its password
	Password   string
	// Params are shown beside the run.
	Params map[string]string
	// RunID is that of a run that goes on; Keep receives that of a new one.
	RunID string
	Keep  func(id string) error
	// Warn says once that the server cannot be reached, and at the end how much was not sent.
	Warn func(format string, a ...any)
	// Every, Patience and Timeout are the time between two requests, how long Close goes on trying, and how long a request may take.
	Every, Patience, Timeout time.Duration
}

// point is a value of a metric.
type point struct {
	Key       string  `json:"key"`
	Value     float64 `json:"value"`
	Timestamp int64   `json:"timestamp"` // milliseconds
	Step      int     `json:"step"`
}

// The server takes so many metrics and parameters in a request, and texts of so many characters.
const (
	mlflowMetrics = 1000
	mlflowParams  = 100
	mlflowText    = 500
	mlflowHeld    = 1 << 20 // values that wait for a server; later ones are left out
)

// FromEnv are the settings that MLflow's own variables give, as its Python client reads them. That MLFLOW_TRACKING_URI
// is not set is an error.
func FromEnv() (Settings, error) {
	s := Settings{URI: os.Getenv("MLFLOW_TRACKING_URI"), Experiment: os.Getenv("MLFLOW_EXPERIMENT_NAME"),
		Name: os.Getenv("MLFLOW_RUN_NAME"), Token: os.Getenv("MLFLOW_TRACKING_TOKEN"), User: os.Getenv("MLFLOW_TRACKING_USERNAME"),
		Password: os.Getenv("MLFLOW_TRACKING_PASSWORD")}
	if s.URI == "" {
		return s, errors.New("train.report_to names mlflow: set MLFLOW_TRACKING_URI to its server, as http://localhost:5000")
	}
	u, err := url.Parse(s.URI)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return s, errors.New("MLFLOW_TRACKING_URI: want the address of a tracking server, as http://localhost:5000")
	}
	return s, nil
}

// OpenMLflow begins to send.
func OpenMLflow(s Settings) *MLflow {
	if s.Experiment == "" {
		s.Experiment = "Default"
	}
	for _, d := range []struct {
		to  *time.Duration
		def time.Duration
	}{{&s.Every, 2 * time.Second}, {&s.Patience, 15 * time.Second}, {&s.Timeout, 10 * time.Second}} {
		if *d.to == 0 {
			*d.to = d.def
		}
	}
	m := &MLflow{Settings: s, run: s.RunID, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	go m.loop()
	return m
}

// Add takes a row.
func (m *MLflow) Add(r Row) {
	now := time.Now().UnixMilli()
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, v := range r.Values {
		if len(m.rows) < mlflowHeld {
			m.rows = append(m.rows, point{mlflowKey(k), v, now, r.Step})
		}
	}
}

// mlflowKey is a name as the server takes it: letters, digits and _-./ alone.
func mlflowKey(name string) string {
	return strings.Map(func(c rune) rune {
		if c < unicode.MaxASCII && (unicode.IsLetter(c) || unicode.IsDigit(c)) || strings.ContainsRune("_-./ ", c) {
			return c
		}
		return '_'
	}, name)
}

// Close sends what is left, for as long as its patience lasts, and says that the run is finished, or failed.
func (m *MLflow) Close(failed bool) {
	m.mu.Lock()
	m.closing, m.status = true, "FINISHED"
	if failed {
		m.status = "FAILED"
	}
	m.mu.Unlock()
	m.wake <- struct{}{}
	<-m.stopped
}

// loop sends until the end.
func (m *MLflow) loop() {
	defer close(m.stopped)
	pause, last := m.Every, time.Time{}
	for {
		select {
		case <-m.wake:
		case <-time.After(pause):
		}
		m.mu.Lock()
		closing := m.closing
		m.mu.Unlock()
		if closing && last.IsZero() {
			last, pause = time.Now().Add(m.Patience), m.Every
		}
		ctx, cancel := context.WithTimeout(context.Background(), m.Timeout)
		if closing {
			ctx, cancel = context.WithDeadline(context.Background(), minTime(last, time.Now().Add(m.Timeout)))
		}
		err := m.send(ctx)
		if err == nil && closing {
			err = m.post(ctx, "runs/update", map[string]any{"run_id": m.run, "status": m.status, "end_time": time.Now().UnixMilli()}, nil)
		}
		cancel()
		switch {
		case err == nil && closing:
			return
		case err == nil:
			pause = m.Every
			continue
		}
		m.failed = err
		if !m.warned {
			m.warned = true
			m.Warn("warning: MLflow: %v; the run goes on, and what it reports is sent when the server answers", err)
		}
		if closing && !time.Now().Before(last) {
			m.mu.Lock()
			n := len(m.rows)
			m.mu.Unlock()
			m.Warn("warning: MLflow: %d values were not sent: %v; %s has them all", n, err, File)
			return
		}
		if pause = min(2*pause, 30*time.Second); closing {
			pause = min(pause, m.Every)
		}
	}
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// send makes the run where there is none and sends what waits. What the server has taken is not sent again.
func (m *MLflow) send(ctx context.Context) error {
	if m.run == "" {
		if err := m.begin(ctx); err != nil {
			return err
		}
	}
	for {
		m.mu.Lock()
		some := m.rows[:min(len(m.rows), mlflowMetrics)]
		m.mu.Unlock()
		if len(some) == 0 {
			return nil
		}
		if err := m.post(ctx, "runs/log-batch", map[string]any{"run_id": m.run, "metrics": some}, nil); err != nil {
			return err
		}
		m.mu.Lock()
		m.rows = m.rows[len(some):]
		m.mu.Unlock()
	}
}

// begin finds or makes the experiment, and makes the run.
func (m *MLflow) begin(ctx context.Context) error {
	var found struct {
		Experiment struct {
			ID string `json:"experiment_id"`
		}
		ID string `json:"experiment_id"`
	}
	err := m.call(ctx, http.MethodGet, "experiments/get-by-name?experiment_name="+url.QueryEscape(m.Experiment), nil, &found)
	id := found.Experiment.ID
	if refused := (*Refused)(nil); errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		err = m.post(ctx, "experiments/create", map[string]any{"name": m.Experiment}, &found)
		id = found.ID
	}
	if err != nil {
		return err
	}
	var made struct {
		Run struct {
			Info struct {
				ID string `json:"run_id"`
			} `json:"info"`
		} `json:"run"`
	}
	if err := m.post(ctx, "runs/create", map[string]any{"experiment_id": id, "run_name": m.Name,
		"start_time": time.Now().UnixMilli()}, &made); err != nil {
		return err
	}
	if made.Run.Info.ID == "" {
		return errors.New("the server made a run without an id: is it an MLflow tracking server?")
	}
	m.run = made.Run.Info.ID
	if m.Keep != nil {
		if err := m.Keep(m.run); err != nil {
			return err
		}
	}
	params := []map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(m.Params)) {
		v := []rune(m.Params[k])
		params = append(params, map[string]string{"key": mlflowKey(k), "value": string(v[:min(len(v), mlflowText)])})
	}
	for len(params) > 0 {
		some := params[:min(len(params), mlflowParams)]
		if err := m.post(ctx, "runs/log-batch", map[string]any{"run_id": m.run, "params": some}, nil); err != nil {
			return err
		}
		params = params[len(some):]
	}
	return nil
}

// Refused is an answer that is not a success.
type Refused struct {
	Status int
	Text   string
}

// Error says what the server answered.
func (r *Refused) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the server answers %d %s: %s", r.Status, http.StatusText(r.Status), r.Text))
}

func (m *MLflow) post(ctx context.Context, name string, body, to any) error {
	return m.call(ctx, http.MethodPost, name, body, to)
}

// call asks the server and reads what it answers into to.
func (m *MLflow) call(ctx context.Context, method, name string, body, to any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	base, query, _ := strings.Cut(name, "?")
	u, err := url.Parse(m.URI)
	if err != nil {
		return err
	}
	u.Path, u.RawQuery = path.Join("/", u.Path, "api/2.0/mlflow", base), query
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	switch {
	case m.Token != "":
		req.Header.Set("Authorization", "Bearer "+m.Token)
	case m.User != "":
		req.SetBasicAuth(m.User, m.Password)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		var why struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(answer, &why) // of a proxy it may be no JSON
		return &Refused{res.StatusCode, why.Message}
	}
	if to == nil {
		return nil
	}
	return json.Unmarshal(answer, to)
}
