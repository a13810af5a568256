package serve

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/version"
)

// Server answers HTTP with an engine. Without Keys it lets everybody in; requests that a browser sends for a page of another site are
// refused, but from the origins that are named.
type Server struct {
	Keys    Keys
	Origins []string      // of pages whose scripts may ask (CORS); "*" for all
	Body    int64         // bytes of a request, at most; 0 for 8 MiB
	Pooling infer.Pooling // of /v1/embeddings; the mean where it is ""
	Loads   bool          // clients whose key sees all models may load and unload adapters
	Log     *slog.Logger  // a line a request, without its text; nil for none

	engine       Engine
	metrics      *metrics
	vocabularies vocabularies
	routes       map[string]map[string]route
	ending       atomic.Bool
}

type handler func(w http.ResponseWriter, r *http.Request, k *key) *Error

type route struct {
	do   handler
	open bool // without a key
}

// New makes a server before an engine.
func New(e Engine) *Server {
	s := &Server{engine: e, metrics: newMetrics(e), routes: map[string]map[string]route{}}
	for _, r := range []struct {
		method, path string
		do           handler
		open         bool
	}{
		{"POST", "/v1/completions", s.completions, false},
		{"POST", "/v1/chat/completions", s.chats, false},
		{"POST", "/v1/embeddings", s.embeddings, false},
		{"POST", "/v1/score", s.scores, false},
		{"POST", "/v1/load_lora_adapter", s.load, false},
		{"POST", "/v1/unload_lora_adapter", s.unload, false},
		{"GET", "/v1/models", s.models, false},
		{"GET", "/v1/models/", s.model, false},
		{"GET", "/models", s.models, false},
		{"POST", "/tokenize", s.tokenize, false},
		{"POST", "/detokenize", s.detokenize, false},
		{"GET", "/tokenizer_info", s.tokenizerInfo, false},
		{"GET", "/health", s.health, true},
		{"GET", "/version", s.version, true},
		{"GET", "/metrics", s.numbers, false},
	} {
		if s.routes[r.path] == nil {
			s.routes[r.path] = map[string]route{}
		}
		s.routes[r.path][r.method] = route{r.do, r.open}
	}
	return s
}

// fingerprint stands for what decides the bits of answers beside the model and the request.
var fingerprint = "adaptflow-" + version.Version

func newID(prefix string) string {
	var b [12]byte
	_, _ = rand.Read(b[:])
	return prefix + hex.EncodeToString(b[:])
}

func now() int64 { return time.Now().Unix() }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	rec := &recorder{ResponseWriter: w}
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			if s.Log != nil {
				s.Log.Error("a request ended in a panic", "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			}
			if rec.status == 0 {
				errorOf(errors.New("panic")).write(rec)
			}
		}
		s.metrics.answered(rec.status)
		if s.Log != nil {
			s.Log.Info("request", "method", r.Method, "path", r.URL.Path, "status", rec.status, "seconds", time.Since(began).Seconds())
		}
	}()
	if e := s.handle(rec, r); e != nil {
		e.write(rec)
	}
}

// recorder remembers the status.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (s *Server) handle(w http.ResponseWriter, r *http.Request) *Error {
	if done, e := s.cors(w, r); done || e != nil {
		return e
	}
	path := r.URL.Path
	if strings.HasPrefix(path, "/v1/models/") {
		path = "/v1/models/"
	}
	methods, ok := s.routes[path]
	if !ok {
		return &Error{http.StatusNotFound, invalidRequest, "", "", "The path does not exist.", 0}
	}
	to, ok := methods[r.Method]
	if !ok {
		for m := range methods {
			w.Header().Set("Allow", m)
		}
		return &Error{http.StatusMethodNotAllowed, invalidRequest, "", "", "The method is not allowed here.", 0}
	}
	k := s.Keys.of(r)
	if k == nil && !to.open {
		return &Error{http.StatusUnauthorized, invalidRequest, "", "invalid_api_key", "Incorrect API key provided.", 0}
	}
	if s.ending.Load() {
		return errorOf(ErrClosed)
	}
	return to.do(w, r, k)
}

// cors answers a browser's question for leave, and refuses what a page of an origin asks that has none.
func (s *Server) cors(w http.ResponseWriter, r *http.Request) (done bool, e *Error) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false, nil
	}
	if !slices.Contains(s.Origins, origin) && !slices.Contains(s.Origins, "*") {
		return false, &Error{http.StatusForbidden, invalidRequest, "", "", "Requests of pages of this origin are not allowed.", 0}
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Add("Vary", "Origin")
	if r.Method != http.MethodOptions {
		return false, nil
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
	w.WriteHeader(http.StatusNoContent)
	return true, nil
}

const bodyBytes = 8 << 20

// read reads the JSON of a request.
func (s *Server) read(w http.ResponseWriter, r *http.Request, v any) *Error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return &Error{http.StatusUnsupportedMediaType, invalidRequest, "", "", "The Content-Type must be application/json.", 0}
	}
	if c := r.Header.Get("Content-Encoding"); c != "" && c != "identity" {
		return &Error{http.StatusUnsupportedMediaType, invalidRequest, "", "", "Encoded bodies are not supported.", 0}
	}
	limit := s.Body
	if limit == 0 {
		limit = bodyBytes
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return &Error{http.StatusRequestEntityTooLarge, invalidRequest, "", "",
				fmt.Sprintf("The request has more than %d bytes.", limit), 0}
		}
		return bad("", "the request could not be read to its end")
	}
	if body := bytes.TrimSpace(raw); len(body) == 0 || body[0] != '{' {
		return bad("", "the request must be a JSON object")
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return wrongJSON(err)
	}
	return nil
}

// wrongJSON says what is wrong with a request's JSON, and where.
func wrongJSON(err error) *Error {
	var kind *json.SemanticError
	if !errors.As(err, &kind) {
		return bad("", "the request is not valid JSON: %s", plain(err))
	}
	param, _, _ := strings.Cut(strings.TrimPrefix(string(kind.JSONPointer), "/"), "/")
	if kind.Err != nil {
		return bad(param, "%s: %s", param, plain(kind.Err))
	}
	return bad(param, "%s has the wrong type", param)
}

// plain is an error without the name of the library.
func plain(err error) string {
	text := err.Error()
	for _, p := range []string{"json: ", "jsontext: "} {
		text = strings.TrimPrefix(text, p)
	}
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "…"
	}
	return text
}

// voice finds the model of a request; nil is the base.
func (s *Server) voice(k *key, name *string) (*Voice, *Error) {
	to := is(name)
	if to == "" {
		to = s.engine.Models()[0].Name
	}
	if !k.sees(to) {
		return nil, noModel(to)
	}
	v, err := s.engine.Open(to)
	if errors.Is(err, ErrUnknown) {
		return nil, noModel(to)
	}
	if err != nil {
		return nil, errorOf(err)
	}
	return v, nil
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request, _ *key) *Error {
	reply(w, map[string]string{"status": "ok"})
	return nil
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request, _ *key) *Error {
	reply(w, map[string]string{"version": version.Version})
	return nil
}

// The times that a connection has.
const (
	headTime = 10 * time.Second
	readTime = time.Minute
	idleTime = 2 * time.Minute
)

// Serve answers on l until ctx ends: then nothing new is taken in, and what is being answered has so long to end.
func (s *Server) Serve(ctx context.Context, l net.Listener, drain time.Duration) error {
	h := &http.Server{Handler: s, ReadHeaderTimeout: headTime, ReadTimeout: readTime, IdleTimeout: idleTime, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	s.ending.Store(true)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := h.Shutdown(last); err != nil {
		return h.Close()
	}
	return nil
}
