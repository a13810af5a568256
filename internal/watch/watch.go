// Package watch tells who asked what the runs of this process do. A DoFn is rebuilt from its payload, so that nothing can be handed to it
// but by the name of its run.
package watch

import (
	"slices"
	"sync"
)

// Runs are those who watch runs. The zero value is ready.
type Runs[T any] struct {
	mu       sync.Mutex
	watchers []*watcher[T]
}

type watcher[T any] struct {
	run string
	see func(T)
}

// Watch has see called with what [Runs.Tell] receives of a run, or of every run where run is "", until stop is called. The calls of one
// Tell come one after another, those of several at the same time where these are.
func (r *Runs[T]) Watch(run string, see func(T)) (stop func()) {
	w := &watcher[T]{run, see}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers = append(r.watchers, w)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.watchers = slices.DeleteFunc(slices.Clone(r.watchers), func(x *watcher[T]) bool { return x == w })
	}
}

// Tell calls those who watch the run, in the order in which they began to.
func (r *Runs[T]) Tell(run string, v T) {
	r.mu.Lock()
	all := r.watchers
	r.mu.Unlock()
	for _, w := range all {
		if w.run == "" || w.run == run {
			w.see(v)
		}
	}
}
