package serve

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
)

// stream is an answer by server-sent events. Its head is written with the first of them, so that what is refused before has its status.
type stream struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	open bool
}

func newStream(w http.ResponseWriter) *stream {
	return &stream{w: w, rc: http.NewResponseController(w)}
}

// writeTime is how long a client may take for what it is sent before it counts as gone.
const writeTime = 30 * time.Second

func (s *stream) write(b []byte) error {
	if !s.open {
		s.open = true
		h := s.w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Accel-Buffering", "no")
		s.w.WriteHeader(http.StatusOK)
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeTime)) // not all writers have one
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.rc.Flush()
}

// send writes an event.
func (s *stream) send(v any) error {
	return s.write(append(append([]byte("data: "), encode(v)...), "\n\n"...))
}

func (s *stream) ping() error { return s.write([]byte(": ping\n\n")) }

func (s *stream) done() error { return s.write([]byte("data: [DONE]\n\n")) }

// fail says what went wrong: as the answer where nothing was written, else as an event that clients take for an error.
func (s *stream) fail(e *Error) {
	if !s.open {
		e.write(s.w)
		return
	}
	_ = s.write(append(append([]byte("data: "), e.body()...), "\n\n"...))
}

// encode is JSON without HTML's escapes.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// reply writes an answer.
func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(encode(v), '\n'))
}
