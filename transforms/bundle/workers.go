// Package bundle holds what DoFns need that work on the references of a bundle on all processors.
package bundle

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// slots bound what all bundles of the process work on at once, and with it their memory.
var slots = make(chan struct{}, runtime.GOMAXPROCS(0))

// Workers lets a DoFn work on the elements of a bundle at the same time. Its elements are references, so that ProcessElement only begins
// the work ([Workers.Go]); FinishBundle waits for all of it and emits, in the order of the elements. Runners that cut a collection into few
// bundles (Prism makes one of it) then use all processors, and a result does not depend on who was first. The zero value is ready;
// StartBundle must call [Workers.Start].
type Workers[T any] struct{ jobs []*job[T] }

type job[T any] struct {
	done chan struct{}
	out  T
	err  error
}

// Start forgets the bundle before, after the end of what a failed one has left at work.
func (w *Workers[T]) Start() {
	for _, j := range w.jobs {
		<-j.done
	}
	w.jobs = nil
}

// Go begins the work on an element once a processor is free for it. Its error is that of an element that failed before, after which nothing
// more is begun.
//
// The work must not use what belongs to the bundle and is not safe for use by several goroutines: emitters, iterators, counters.
func (w *Workers[T]) Go(ctx context.Context, work func() (T, error)) error {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, j := range w.jobs {
		select {
		case <-j.done:
			if j.err != nil {
				<-slots
				_, err := w.Wait()
				return err
			}
		default:
		}
	}
	j := &job[T]{done: make(chan struct{})}
	w.jobs = append(w.jobs, j)
	go func() {
		defer func() {
			if p := recover(); p != nil { // as Beam makes an error of a panic in ProcessElement
				j.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
			<-slots
			close(j.done)
		}()
		j.out, j.err = work()
	}()
	return nil
}

// Emit is FinishBundle where what is made of the elements is what goes on: it waits for all and emits them in their order.
func (w *Workers[T]) Emit(emit func(T)) error {
	out, err := w.Wait()
	for _, v := range out {
		emit(v)
	}
	return err
}

// Wait waits for all elements and returns what was made of each, in their order, or the error of the first that failed.
func (w *Workers[T]) Wait() ([]T, error) {
	var out []T
	var err error
	for _, j := range w.jobs {
		<-j.done
		if err == nil {
			err = j.err
		}
		out = append(out, j.out)
	}
	w.jobs = nil
	if err != nil {
		return nil, err
	}
	return out, nil
}
