package pool

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// modes make pools whose workers are handed calls, whose workers find them, and one that changes between the two at every third call.
var modes = map[string]func(threads int) (p *Pool, next func()){
	"handed": func(threads int) (*Pool, func()) { return fixed(threads, true), func() {} },
	"found":  func(threads int) (*Pool, func()) { return fixed(threads, false), func() {} },
	"both": func(threads int) (*Pool, func()) {
		p, n := fixed(threads, true), 0
		return p, func() {
			n++
			p.busy.Store(n/3%2 == 0)
		}
	},
}

func fixed(threads int, busy bool) *Pool {
	p := New(threads)
	p.watch.at = time.Now().Add(time.Hour) // it never looks
	p.busy.Store(busy)
	return p
}

func TestRunCallsEachBlockOnce(t *testing.T) {
	for mode, pool := range modes {
		t.Run(mode, func(t *testing.T) { callsEachBlockOnce(t, pool) })
	}
}

func callsEachBlockOnce(t *testing.T, pool func(int) (*Pool, func())) {
	for _, threads := range []int{1, 2, 5} {
		p, next := pool(threads)
		for _, n := range []int{0, 1, 3, 1000} {
			seen := make([]atomic.Int32, n)
			next()
			p.Run(n, func(i int) { seen[i].Add(1) })
			for i := range seen {
				if seen[i].Load() != 1 {
					t.Fatalf("threads %d, n %d: block %d ran %d times", threads, n, i, seen[i].Load())
				}
			}
		}
		p.Close()
	}
	var serial *Pool
	calls := 0
	serial.Run(7, func(int) { calls++ })
	if calls != 7 {
		t.Fatalf("nil pool ran %d of 7 blocks", calls)
	}
}

func TestRunRaisesPanic(t *testing.T) {
	for mode, pool := range modes {
		t.Run(mode, func(t *testing.T) {
			p, _ := pool(2)
			raisesPanic(t, p)
		})
	}
}

func raisesPanic(t *testing.T, p *Pool) {
	defer p.Close()
	defer func() {
		if r := recover(); r != "boom" {
			t.Fatalf("recovered %v, want boom", r)
		}
		done := 0
		p.Run(1, func(int) { done++ })
		if done != 1 {
			t.Fatal("pool unusable after a panic")
		}
	}()
	p.Run(64, func(i int) {
		if i == 40 {
			panic("boom")
		}
	})
}

// TestRunAfterSleep lets the workers fall asleep between calls, and calls in quick turn, so that both ways of waiting are met.
func TestRunAfterSleep(t *testing.T) {
	for mode, pool := range modes {
		t.Run(mode, func(t *testing.T) { afterSleep(t, pool) })
	}
}

func afterSleep(t *testing.T, pool func(int) (*Pool, func())) {
	for _, threads := range []int{2, 3, 8} {
		p, next := pool(threads)
		var sum atomic.Int64
		want := int64(0)
		for call := range 2000 {
			n := 1 + call%7
			next()
			p.Run(n, func(i int) {
				if call%100 == 0 {
					time.Sleep(100 * time.Microsecond) // the others wait for this block
				}
				sum.Add(int64(i) + 1)
			})
			want += int64(n * (n + 1) / 2)
			if got := sum.Load(); got != want {
				t.Fatalf("threads %d, call %d: sum %d, want %d: Run returned before its blocks", threads, call, got, want)
			}
			if call%50 == 0 {
				time.Sleep(100 * time.Microsecond)
			}
		}
		p.Close()
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	for mode, pool := range modes {
		p, _ := pool(2)
		f := func(int) {}
		if n := testing.AllocsPerRun(100, func() { p.Run(8, f) }); n != 0 {
			t.Errorf("%s: %v allocations a call", mode, n)
		}
		p.Close()
	}
}

// TestWatch: many stops in a window say that others want the processors where others use them, and few for half a second that they do not.
func TestWatch(t *testing.T) {
	const used = watchUsed * watchWindow / 100
	for _, counted := range []bool{true, false} {
		var w watch
		l := look{now: time.Now(), stops: 1000, known: true, counted: counted}
		for _, c := range []struct {
			after time.Duration
			stops int64
			used  time.Duration
			want  bool
			what  string
		}{
			{0, 0, 0, true, "before it has seen a window"},
			{watchWindow, watchStops - 1, used, false, "a window with few stops"},
			{watchWindow, watchStops, used - 1, !counted, "a window with many, others using little"},
			{watchCalm, 1, 0, false, "few stops after that"},
			{watchWindow, watchStops, used, true, "a window with many"},
			{watchWindow, 1, used, true, "few stops right after many"},
			{watchCalm, 1, used, false, "few stops for long"},
			{4 * watchWindow, 4*watchStops - 1, 4 * used, false, "few stops in four windows together"},
			{4 * watchWindow, 4 * watchStops, 4 * used, true, "many"},
		} {
			l.now, l.stops, l.used = l.now.Add(c.after), l.stops+c.stops, l.used+c.used
			if w.judge(l, 1) != c.want {
				t.Errorf("%s, use counted %v: contended is %v", c.what, counted, !c.want)
			}
		}
	}
	var w watch
	l := look{now: time.Now(), known: true, counted: true}
	w.judge(l, 1)
	later, unknown := l, l
	later.now, unknown.now, unknown.known = l.now.Add(watchWindow), l.now.Add(2*watchWindow), false
	if !w.judge(later, runtime.GOMAXPROCS(0)+1) || !w.judge(unknown, 1) {
		t.Error("workers look for work where stops are not counted, or in a pool of more threads than processors")
	}
	if _, known := threadStops(); known == (runtime.GOOS == "windows") {
		t.Errorf("stops are counted on %s: %v", runtime.GOOS, known)
	}
}

// BenchmarkRun is what a call costs beyond its longest block, where one of two blocks takes work and the other half of it, after a gap.
func BenchmarkRun(b *testing.B) {
	const us = time.Microsecond
	for _, c := range []struct{ gap, work time.Duration }{{0, 0}, {0, 30 * us}, {20 * us, 60 * us}, {20 * us, 200 * us},
		{1000 * us, 60 * us}} {
		b.Run(fmt.Sprintf("gap=%v/work=%v", c.gap, c.work), func(b *testing.B) {
			p := New(2)
			defer p.Close()
			busy := func(d time.Duration) {
				for at := time.Now(); time.Since(at) < d; {
				}
			}
			block := func(i int) { busy(c.work / time.Duration(i+1)) }
			var own []time.Duration
			for b.Loop() {
				busy(c.gap)
				at := time.Now()
				p.Run(2, block)
				own = append(own, time.Since(at)-c.work)
			}
			slices.Sort(own)
			b.ReportMetric(float64(own[len(own)/2].Nanoseconds()), "median-ns")
			b.ReportMetric(float64(own[len(own)/10].Nanoseconds()), "tenth-ns")
		})
	}
}
