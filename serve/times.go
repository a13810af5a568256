package serve

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The spans of time of an answer that are measured, by place in spanRows.
const (
	firstToken = iota
	nextToken
	wholeAnswer
	inQueue
	spans
)

// spanRows are their histograms, by the names that vLLM's dashboards know.
var spanRows = [spans]prometheus.HistogramOpts{
	firstToken:  {Name: "vllm:time_to_first_token_seconds", Help: "Seconds from a request to the first token of an answer to it."},
	nextToken:   {Name: "vllm:inter_token_latency_seconds", Help: "Seconds from a token to the next."},
	wholeAnswer: {Name: "vllm:e2e_request_latency_seconds", Help: "Seconds from a request to the end of an answer to it."},
	inQueue:     {Name: "vllm:request_queue_time_seconds", Help: "Seconds that an answer waited before it began."},
}

// measure registers the histograms.
func (m *metrics) measure() {
	for i, o := range spanRows {
		o.Buckets = prometheus.ExponentialBuckets(0.001, 2, 18)
		m.spans[i] = prometheus.NewHistogramVec(o, []string{"model_name"})
		m.registry.MustRegister(m.spans[i])
	}
}

// times measure one answer. A nil times measures nothing.
type times struct {
	spans       [spans]prometheus.Observer
	begun, last time.Time
}

func (m *metrics) begin(model string) *times {
	t := &times{begun: time.Now()}
	for i, s := range m.spans {
		t.spans[i] = s.WithLabelValues(model)
	}
	return t
}

// token records each.
func (t *times) token() {
	if t == nil {
		return
	}
	now := time.Now()
	if t.last.IsZero() {
		t.spans[firstToken].Observe(now.Sub(t.begun).Seconds())
	} else {
		t.spans[nextToken].Observe(now.Sub(t.last).Seconds())
	}
	t.last = now
}

// end records that the answer has ended.
func (t *times) end(a Answer) {
	if t == nil {
		return
	}
	t.spans[wholeAnswer].Observe(time.Since(t.begun).Seconds())
	if w, ok := a.(interface{ Waited() time.Duration }); ok {
		t.spans[inQueue].Observe(w.Waited().Seconds())
	}
}
