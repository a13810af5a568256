// Package pool runs the independent blocks of a kernel on a fixed set of goroutines.
//
// Which goroutine runs which block is decided by an atomic counter, so a block must write only its own part of the
// result: then the result does not depend on the number of threads.
package pool

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Pool is a fixed set of worker goroutines. A nil *Pool runs everything on the caller's goroutine.
// Run may be called from one goroutine at a time.
type Pool struct {
	n     int
	tasks chan *task
	once  sync.Once
	last  task
}

type task struct {
	n    int64
	next atomic.Int64
	wg   sync.WaitGroup
	f    func(int)
	bad  atomic.Pointer[any]
}

// New returns a pool that uses n goroutines, the caller's among them. n <= 0 means one a logical CPU.
func New(n int) *Pool {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	p := &Pool{n: n, tasks: make(chan *task)}
	for i := 1; i < n; i++ {
		go func() {
			for t := range p.tasks {
				t.work()
				t.wg.Done()
			}
		}()
	}
	return p
}

// Threads is the number of goroutines that Run uses; 1 for a nil pool.
func (p *Pool) Threads() int {
	if p == nil {
		return 1
	}
	return p.n
}

// Run calls f(0) … f(n-1), each exactly once, in no given order, and returns when all have returned.
// A panic in f is raised again on the caller's goroutine after the other blocks have ended.
func (p *Pool) Run(n int, f func(i int)) {
	if n <= 0 {
		return
	}
	if p == nil || p.n == 1 || n == 1 {
		for i := 0; i < n; i++ {
			f(i)
		}
		return
	}
	t := &p.last
	t.n, t.f = int64(n), f
	t.next.Store(0)
	t.bad.Store(nil)
	workers := min(p.n, n) - 1
	t.wg.Add(workers)
	for i := 0; i < workers; i++ {
		p.tasks <- t
	}
	t.work()
	t.wg.Wait()
	t.f = nil
	if bad := t.bad.Load(); bad != nil {
		panic(*bad)
	}
}

func (t *task) work() {
	defer func() {
		if r := recover(); r != nil {
			bad := r // not &r, which would allocate in every call
			t.bad.Store(&bad)
			t.next.Store(t.n)
		}
	}()
	for {
		i := t.next.Add(1) - 1
		if i >= t.n {
			return
		}
		t.f(int(i))
	}
}

// Close ends the pool's goroutines. The pool must not be used afterwards.
func (p *Pool) Close() {
	if p != nil {
		p.once.Do(func() { close(p.tasks) })
	}
}
