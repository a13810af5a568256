package pool

import (
	"runtime"
	"time"
)

// watch finds out whether other programs want the processors: then the system stops this one's threads before they want to sleep. On an
// idle machine each thread of a pool was stopped some 60 to 120 times a second, beside another program 280 to 1000 times.
//
// Threads that wake each other stop each other as well: calls of a few microseconds that are handed over stopped each thread 1000 times a
// second, and went on being handed over for it. So many stops count only where others do use the processors, or that cannot be known.
type watch struct {
	calls int
	at    time.Time
	stops int64
	used  time.Duration // by other programs, of all processors together
	until time.Time     // contended
}

const (
	watchCalls  = 16                     // calls of Run between two looks at the clock
	watchWindow = 100 * time.Millisecond // time over which stops are counted
	watchStops  = 18                     // of a thread in a window
	watchCalm   = 500 * time.Millisecond // without so many, before workers look for work again
	watchUsed   = 30                     // percent of one processor that others use, at least; the system counts time by 10 ms
)

// due says, at every call of Run, when it is time to ask contended.
func (w *watch) due() bool {
	w.calls++
	return w.calls%watchCalls == 0 && time.Since(w.at) >= watchWindow
}

// contended looks at the stops since the last call. It says yes as long as it cannot know.
func (w *watch) contended(threads int) bool {
	stops, known := threadStops()
	used, counted := othersUse()
	return w.judge(look{time.Now(), stops, known, used, counted}, threads)
}

// look is what a watch sees: stops of this program's threads, and the time of processors that other programs have used, both since they
// began.
type look struct {
	now     time.Time
	stops   int64
	known   bool // the stops
	used    time.Duration
	counted bool // what others use
}

func (w *watch) judge(l look, threads int) bool {
	stops, used, window, first := l.stops-w.stops, l.used-w.used, l.now.Sub(w.at), w.at.IsZero()
	w.at, w.stops, w.used = l.now, l.stops, l.used
	if !l.known || first || threads > runtime.GOMAXPROCS(0) { // of the last, some wait for others of the same pool
		return true
	}
	many := time.Duration(stops)*watchWindow >= time.Duration(watchStops*threads)*window
	if many && (!l.counted || 100*used >= watchUsed*window) {
		w.until = l.now.Add(watchCalm)
	}
	return l.now.Before(w.until)
}
