package serve

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what /metrics shows: the engine's numbers under adaptflow's names and, where dashboards know them, vLLM's.
type metrics struct {
	engine   Engine
	registry *prometheus.Registry
	http     http.Handler
	answers  *prometheus.CounterVec   // by status
	finish   []*prometheus.CounterVec // by model and reason, under each name
	prompts  *prometheus.HistogramVec
	words    *prometheus.HistogramVec
	spans    [spans]*prometheus.HistogramVec
}

// number is a row of the engine's numbers.
type gauge struct {
	names []string
	help  string
	kind  prometheus.ValueType
	of    func(s Stats) float64
}

var gauges = []gauge{
	{[]string{"adaptflow:requests_running", "vllm:num_requests_running"}, "Sequences that are being continued.", prometheus.GaugeValue,
		func(s Stats) float64 { return float64(s.Running) }},
	{[]string{"adaptflow:requests_waiting", "vllm:num_requests_waiting"}, "Sequences that wait.", prometheus.GaugeValue,
		func(s Stats) float64 { return float64(s.Waiting) }},
	{[]string{"adaptflow:kv_cache_usage", "vllm:kv_cache_usage_perc"}, "Share of the KV cache that is taken; 1 is all.",
		prometheus.GaugeValue, func(s Stats) float64 { return float64(s.RowsUsed) / float64(max(s.Rows, 1)) }},
	{[]string{"adaptflow:prompt_tokens_total", "vllm:prompt_tokens_total"}, "Tokens of prompts.", prometheus.CounterValue,
		func(s Stats) float64 { return float64(s.PromptTokens) }},
	{[]string{"vllm:prefix_cache_queries_total"}, "Tokens of prompts that were looked for in the KV cache.", prometheus.CounterValue,
		func(s Stats) float64 { return float64(s.PromptTokens) }},
	{[]string{"adaptflow:cached_tokens_total", "vllm:prefix_cache_hits_total"}, "Tokens of prompts that were in the KV cache.",
		prometheus.CounterValue, func(s Stats) float64 { return float64(s.CachedTokens) }},
	{[]string{"adaptflow:generation_tokens_total", "vllm:generation_tokens_total"}, "Tokens that were generated.", prometheus.CounterValue,
		func(s Stats) float64 { return float64(s.GeneratedTokens) }},
	{[]string{"adaptflow:steps_total"}, "Passes over the model.", prometheus.CounterValue,
		func(s Stats) float64 { return float64(s.Steps) }},
	{[]string{"adaptflow:adapter_loads_total"}, "Adapters that were put into memory.", prometheus.CounterValue,
		func(s Stats) float64 { return float64(s.AdapterLoads) }},
	{[]string{"adaptflow:adapter_evictions_total"}, "Adapters that were taken out of memory.", prometheus.CounterValue,
		func(s Stats) float64 { return float64(s.AdapterEvictions) }},
	{[]string{"adaptflow:adapters_held"}, "Adapters in memory.", prometheus.GaugeValue,
		func(s Stats) float64 { return float64(len(s.Adapters)) }},
}

func newMetrics(e Engine) *metrics {
	m := &metrics{engine: e, registry: prometheus.NewRegistry()}
	m.answers = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "adaptflow:http_requests_total", Help: "HTTP requests by status."},
		[]string{"status"})
	m.registry.MustRegister(m, m.answers)
	for _, name := range []string{"adaptflow:request_success_total", "vllm:request_success_total"} {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: "Answers by the reason of their end."},
			[]string{"model_name", "finished_reason"})
		m.finish = append(m.finish, c)
		m.registry.MustRegister(c)
	}
	buckets := prometheus.ExponentialBuckets(1, 2, 16)
	m.prompts = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "vllm:request_prompt_tokens",
		Help: "Tokens of a request's prompts.", Buckets: buckets}, []string{"model_name"})
	m.words = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "vllm:request_generation_tokens",
		Help: "Tokens that were generated for a request.", Buckets: buckets}, []string{"model_name"})
	m.registry.MustRegister(m.prompts, m.words)
	m.measure()
	m.http = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return m
}

// Describe implements prometheus.Collector: what is collected depends on nothing that is known before.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	s, base := m.engine.Stats(), m.engine.Models()[0].Name
	for _, g := range gauges {
		for _, name := range g.names {
			d := prometheus.NewDesc(name, g.help, []string{"model_name"}, nil)
			to <- prometheus.MustNewConstMetric(d, g.kind, g.of(s), base)
		}
	}
	d := prometheus.NewDesc("adaptflow:adapter_requests_running", "Sequences by adapter that is in memory.", []string{"adapter"}, nil)
	for name, n := range s.Adapters {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), name)
	}
}

func (m *metrics) answered(status int) { m.answers.WithLabelValues(strconv.Itoa(status)).Inc() }

// finished counts a request that was answered.
func (m *metrics) finished(model string, choices []*choice, u *usage) {
	for _, c := range choices {
		for _, v := range m.finish {
			v.WithLabelValues(model, c.reason()).Inc()
		}
	}
	m.prompts.WithLabelValues(model).Observe(float64(u.Prompt))
	m.words.WithLabelValues(model).Observe(float64(u.Completion))
}

func (c *choice) reason() string {
	if c.speech.Finish == "" {
		return "length"
	}
	return c.speech.Finish
}

// numbers answers /metrics, to keys that see all models.
func (s *Server) numbers(w http.ResponseWriter, r *http.Request, k *key) *Error {
	if !k.sees("*") {
		return &Error{http.StatusForbidden, invalidRequest, "", "", "The key does not see all models.", 0}
	}
	s.metrics.http.ServeHTTP(w, r)
	return nil
}
