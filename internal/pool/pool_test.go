package pool

import (
	"sync/atomic"
	"testing"
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
