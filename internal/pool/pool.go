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
//
// A training step is hundreds of calls of tens of microseconds, and waking a goroutine whose thread sleeps takes as long. Where nobody else
// wants the processors a worker without work therefore looks for more before it sleeps, and so does Run for the workers to end. Where other
// programs want them ([watch]), looking takes time from who works, and a call is handed to the workers one after the other, all of which
// sleep between calls.
type Pool struct {
	n      int
	once   sync.Once
	hands  chan *task    // to sleeping workers
	wake   chan struct{} // for workers to look again
	asleep atomic.Int32
	busy   atomic.Bool // others want the processors
	enter  func() bool // the task's, bound once
	empty  func() bool
	task   task
	watch  watch
}

// task is the present call of Run. Its fields are written while nobody is in it.
type task struct {
	n    int64
	next atomic.Int64
	f    func(int)
	bad  atomic.Pointer[any]

	wg    sync.WaitGroup // of a task that was handed over
	state atomic.Int64   // of one that workers find: open, waited and inside
	left  chan struct{}  // by the last worker, where Run sleeps until then
}

// The state of a task: open says that workers may go in, waited that Run sleeps until the last of them has come out; then the number of
// those inside.
const (
	open   = 1
	waited = 2
	inside = 4
)

const (
	looks = 1 << 15 // before sleeping: some 50 microseconds
	yield = 1 << 11 // looks after which other goroutines may run
)

// New returns a pool that uses n goroutines, the caller's among them. n <= 0 means one a logical CPU.
func New(n int) *Pool {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	p := &Pool{n: n, hands: make(chan *task), wake: make(chan struct{}, n)}
	t := &p.task
	t.left = make(chan struct{}, 1)
	p.enter, p.empty = t.enter, func() bool { return t.state.Load() == 0 }
	p.busy.Store(true) // until it is known
	for i := 1; i < n; i++ {
		go p.worker()
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
	if p.watch.due() {
		p.busy.Store(p.watch.contended(p.n))
	}
	t := &p.task
	t.n, t.f = int64(n), f
	t.next.Store(0)
	t.bad.Store(nil)
	if p.busy.Load() {
		p.handOver(min(p.n, n) - 1)
	} else {
		p.open(n - 1)
	}
	t.f = nil
	if bad := t.bad.Load(); bad != nil {
		panic(*bad)
	}
}

// handOver gives the task to workers, works on it and waits for them.
func (p *Pool) handOver(workers int) {
	t := &p.task
	t.wg.Add(workers)
	for range workers {
		p.hands <- t
	}
	t.work()
	t.wg.Wait()
}

// open lets the workers find the task, waking at most most of them, works on it and waits for those who have found it.
func (p *Pool) open(most int) {
	t := &p.task
	t.state.Store(open)
	for range min(int(p.asleep.Load()), most) {
		select {
		case p.wake <- struct{}{}:
		default: // as many as there are workers are being woken already
		}
	}
	t.work()
	t.state.Add(-open)
	if p.look(p.empty) {
		return
	}
	if t.state.Add(waited) != waited {
		<-t.left
	}
	t.state.Store(0)
}

// look calls found until it says yes, as long as that may be soon.
func (p *Pool) look(found func() bool) bool {
	for i := range looks {
		if found() {
			return true
		}
		if i%yield == yield-1 {
			if p.busy.Load() {
				return false
			}
			runtime.Gosched()
		}
	}
	return false
}

// enter goes into a task that is open; leave comes out of it.
func (t *task) enter() bool {
	for {
		s := t.state.Load()
		if s&open == 0 {
			return false
		}
		if t.state.CompareAndSwap(s, s+inside) {
			return true
		}
	}
}

func (t *task) leave() {
	if t.state.Add(-inside) == waited {
		t.left <- struct{}{}
	}
}

// worker goes into the tasks that it finds, and works on those that it is given while it sleeps.
func (p *Pool) worker() {
	t := &p.task
	for {
		if !p.busy.Load() && p.look(p.enter) {
			t.work()
			t.leave()
			continue
		}
		p.asleep.Add(1)
		if t.enter() { // it was opened after the last look, when nobody was asleep to be woken
			p.asleep.Add(-1)
			t.work()
			t.leave()
			continue
		}
		select {
		case <-p.wake:
			p.asleep.Add(-1)
		case h := <-p.hands:
			p.asleep.Add(-1)
			if h == nil { // closed
				return
			}
			h.work()
			h.wg.Done()
		}
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
		p.once.Do(func() { close(p.hands) })
	}
}
