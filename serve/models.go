package serve

import (
	"net/http"
	"strings"
)

// modelCard is an entry of /v1/models. Adapters have the base as their parent, as vLLM lists them.
type modelCard struct {
	ID         string  `json:"id"`
	Object     string  `json:"object"`
	Created    int64   `json:"created"`
	Owner      string  `json:"owned_by"`
	Root       string  `json:"root"`
	Parent     *string `json:"parent"`
	Context    *int    `json:"max_model_len"`
	Permission []any   `json:"permission"`
}

var started = now()

func cardOf(m Model) modelCard {
	c := modelCard{ID: m.Name, Object: "model", Created: started, Owner: "adaptflow", Root: m.Name, Permission: []any{}}
	if m.Parent != "" {
		c.Parent = &m.Parent
	} else {
		c.Context = &m.Context
	}
	return c
}

// models lists what the key may ask.
func (s *Server) models(w http.ResponseWriter, _ *http.Request, k *key) *Error {
	list := []modelCard{}
	for _, m := range s.engine.Models() {
		if k.sees(m.Name) {
			list = append(list, cardOf(m))
		}
	}
	reply(w, map[string]any{"object": "list", "data": list})
	return nil
}

// model is one of them.
func (s *Server) model(w http.ResponseWriter, r *http.Request, k *key) *Error {
	name := strings.TrimPrefix(r.URL.Path, "/v1/models/")
	v, e := s.voice(k, &name)
	if e != nil {
		return e
	}
	base := s.engine.Models()[0]
	m := Model{Name: v.Name, Context: v.Context}
	if v.Name != base.Name {
		m.Parent = base.Name
	}
	reply(w, cardOf(m))
	return nil
}
