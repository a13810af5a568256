package pool

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

func TestRunCallsEachBlockOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		p := New(threads)
		for _, n := range []int{0, 1, 3, 1000} {
			seen := make([]atomic.Int32, n)
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
	p := New(2)
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
	for _, threads := range []int{2, 3, 8} {
		p := New(threads)
		var sum atomic.Int64
		want := int64(0)
		for call := range 2000 {
			n := 1 + call%7
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
	p := New(2)
	defer p.Close()
	f := func(int) {}
	if n := testing.AllocsPerRun(100, func() { p.Run(8, f) }); n != 0 {
		t.Fatalf("%v allocations a call", n)
	}
}

// BenchmarkRun is what a call costs beyond its longest block, where one of two blocks takes work and the other half of it, after a gap.
func BenchmarkRun(b *testing.B) {
	const us = time.Microsecond
	for _, c := range []struct{ gap, work time.Duration }{{0, 0}, {0, 30 * us}, {20 * us, 60 * us}, {20 * us, 200 * us}, {1000 * us, 60 * us}} {
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
