package serve

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/infer"
)

// Loader is an engine that takes adapters by name at run time.
type Loader interface {
	// Load names the adapter in a folder, which replaces one of that name that was loaded so where again is set. A [*Refused] says why not;
	// [ErrUnknown] that there is no adapter.
	Load(name, path string, again bool) error
	// Unload takes the name away that Load gave; [ErrUnknown] where it gave none. What is being answered ends with the adapter.
	Unload(name string) error
}

// Load implements Loader: the folder must lie in Options.LoadFrom, to which the path is relative if it isn't absolute.
func (e *Live) Load(name, path string, again bool) error {
	from := e.o.LoadFrom
	if from == "" || strings.ContainsRune(path, 0) {
		return ErrUnknown
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(from, path)
	}
	if !within(from, path) {
		return ErrUnknown
	}
	folder, err := adapterIn(path)
	if err != nil || folder == "" || !within(from, folder) {
		return ErrUnknown
	}
	more := e.o.Adapters.more
	more.mu.Lock()
	own := slices.ContainsFunc(more.list, func(n infer.Named) bool { return n.Name == name })
	more.mu.Unlock()
	if name == e.o.Name || !own && slices.Contains(e.o.Adapters.Names(), name) || own && !again {
		return refuse("the adapter %q has already been loaded", name)
	}
	r := &resident{edition: edition{name: name, folder: folder}}
	if err := e.read(r); err != nil {
		var own *Refused
		if errors.As(err, &own) {
			return own
		}
		e.o.Log.Error("an adapter does not load", "adapter", name, "error", err)
		return refuse("the adapter %q cannot be used with this base model", name)
	}
	if r.model != nil {
		_ = r.model.Close()
	}
	more.mu.Lock()
	defer more.mu.Unlock()
	more.list = slices.DeleteFunc(more.list, func(n infer.Named) bool { return n.Name == name })
	more.list = append(more.list, infer.Named{Name: name, Dir: path})
	return nil
}

// Unload implements Loader.
func (e *Live) Unload(name string) error {
	more := e.o.Adapters.more
	more.mu.Lock()
	defer more.mu.Unlock()
	n := len(more.list)
	more.list = slices.DeleteFunc(more.list, func(n infer.Named) bool { return n.Name == name })
	if len(more.list) == n {
		return ErrUnknown
	}
	return nil
}

// loadRequest is the body of /v1/load_lora_adapter and of /v1/unload_lora_adapter, as vLLM has them.
type loadRequest struct {
	Name  *string `json:"lora_name"`
	Path  *string `json:"lora_path"`
	Again *bool   `json:"load_inplace"`
}

// loader reads a request of a key that sees all models: an adapter that is loaded may be anybody's.
func (s *Server) loader(w http.ResponseWriter, r *http.Request, k *key, q *loadRequest) (Loader, *Error) {
	l, ok := s.engine.(Loader)
	if !ok || !s.Loads {
		return nil, &Error{http.StatusForbidden, invalidRequest, "", "", "Adapters are not loaded at run time here.", 0}
	}
	if !k.sees("*") {
		return nil, &Error{http.StatusForbidden, invalidRequest, "", "", "The key does not see all models.", 0}
	}
	if e := s.read(w, r, q); e != nil {
		return nil, e
	}
	if is(q.Name) == "" {
		return nil, &Error{http.StatusBadRequest, "InvalidUserInput", "lora_name", "", "lora_name is missing.", 0}
	}
	return l, nil
}

func loadError(name string, err error) *Error {
	var own *Refused
	switch {
	case errors.Is(err, ErrUnknown):
		return &Error{http.StatusNotFound, "NotFoundError", "lora_name", "", fmt.Sprintf("The adapter %q cannot be found.", name), 0}
	case errors.As(err, &own):
		return &Error{http.StatusBadRequest, "InvalidUserInput", "", "", own.Reason, 0}
	}
	return errorOf(err)
}

func (s *Server) load(w http.ResponseWriter, r *http.Request, k *key) *Error {
	var q loadRequest
	l, e := s.loader(w, r, k, &q)
	if e != nil {
		return e
	}
	if is(q.Path) == "" {
		return &Error{http.StatusBadRequest, "InvalidUserInput", "lora_path", "", "lora_path is missing.", 0}
	}
	if err := l.Load(*q.Name, *q.Path, is(q.Again)); err != nil {
		return loadError(*q.Name, err)
	}
	_, _ = fmt.Fprintf(w, "Success: LoRA adapter '%s' added successfully.", *q.Name)
	return nil
}

func (s *Server) unload(w http.ResponseWriter, r *http.Request, k *key) *Error {
	var q loadRequest
	l, e := s.loader(w, r, k, &q)
	if e != nil {
		return e
	}
	if err := l.Unload(*q.Name); err != nil {
		return loadError(*q.Name, err)
	}
	_, _ = fmt.Fprintf(w, "Success: LoRA adapter '%s' removed successfully.", *q.Name)
	return nil
}
