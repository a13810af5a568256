package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/adaptflow/adaptflow/evaluate"
)

// Error is what a request is refused with: an HTTP status, and OpenAI's body.
type Error struct {
	Status  int
	Type    string
	Param   string // the field that is wrong; "" for null
	Code    string // "" for null
	Message string
	After   int // seconds after which it may be tried again; 0 for none
}

func (e *Error) Error() string { return e.Message }

// The types of OpenAI's errors.
const (
	invalidRequest = "invalid_request_error"
	serverError    = "server_error"
)

// bad is a request that is wrong by itself.
func bad(param, format string, a ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Type: invalidRequest, Param: param, Message: fmt.Sprintf(format, a...)}
}

func tooLong(format string, a ...any) *Error {
	e := bad("messages", format, a...)
	e.Param, e.Code = "", "context_length_exceeded"
	return e
}

func noModel(name string) *Error {
	return &Error{http.StatusNotFound, invalidRequest, "model", "model_not_found", fmt.Sprintf("The model %q does not exist.", name), 0}
}

// errorOf is an engine's error as a client sees it. What is not a client's fault says nothing of the machine.
func errorOf(err error) *Error {
	var own *Error
	var refused *Refused
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &refused):
		return bad("", "%s", refused.Reason)
	case errors.Is(err, evaluate.ErrBanned):
		return bad("", "%v", err)
	case errors.Is(err, ErrFull):
		return &Error{http.StatusTooManyRequests, "rate_limit_error", "", "queue_full",
			"Too many requests are waiting: try again later.", 1}
	case errors.Is(err, ErrClosed):
		return &Error{http.StatusServiceUnavailable, serverError, "", "", "The server is ending.", 1}
	}
	return &Error{http.StatusInternalServerError, serverError, "", "", "The model gave no answer.", 0}
}

func (e *Error) body() []byte {
	null := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	type inner struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	}
	raw, err := json.Marshal(map[string]inner{"error": {e.Message, e.Type, null(e.Param), null(e.Code)}})
	if err != nil {
		panic(err)
	}
	return raw
}

func (e *Error) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if e.After > 0 {
		h.Set("Retry-After", strconv.Itoa(e.After))
	}
	if e.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(e.Status)
	_, _ = w.Write(append(e.body(), '\n'))
}
