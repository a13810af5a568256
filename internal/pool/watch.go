package pool

import (
	"runtime"
	"time"
)

// watch finds out whether other programs want the processors: then the system stops this one's threads before they want to sleep. On an
// idle machine each thread of a pool was stopped some 60 to 120 times a second, beside another program 280 to 1000 times.
type watch struct {
	calls int
	at    time.Time
	stops int64
	until time.Time // contended
}

const (
	watchCalls  = 16                     // calls of Run between two looks at the clock
	watchWindow = 100 * time.Millisecond // time over which stops are counted
	watchStops  = 18                     // of a thread in a window
	watchCalm   = 500 * time.Millisecond // without so many, before workers look for work again
)

// due says, at every call of Run, when it is time to ask contended.
func (w *watch) due() bool {
	w.calls++
	return w.calls%watchCalls == 0 && time.Since(w.at) >= watchWindow
}

// contended looks at the stops since the last call. It says yes as long as it cannot know.
func (w *watch) contended(threads int) bool {
	stops, known := threadStops()
	return w.judge(time.Now(), stops, known, threads)
}

func (w *watch) judge(now time.Time, stops int64, known bool, threads int) bool {
	n, window := stops-w.stops, now.Sub(w.at)
	first := w.at.IsZero()
	w.at, w.stops = now, stops
	if !known || first || threads > runtime.GOMAXPROCS(0) { // of the last, some wait for others of the same pool
		return true
	}
	if time.Duration(n)*watchWindow >= time.Duration(watchStops*threads)*window {
		w.until = now.Add(watchCalm)
	}
	return now.Before(w.until)
}
