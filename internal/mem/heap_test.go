package mem

import (
	"context"
	"runtime/debug"
	"testing"
)

// TestHeap: settings of the process change where it is ours, and are put back; a host's stay.
func TestHeap(t *testing.T) {
	percent := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	wasPercent, wasLimit := percent(), debug.SetMemoryLimit(-1)
	restore := Heap(t.Context(), 7, 1<<30)
	if percent() != wasPercent || debug.SetMemoryLimit(-1) != wasLimit {
		t.Error("a host's settings were changed")
	}
	restore()
	for _, limit := range []int64{0, 1 << 30} {
		restore := Heap(Own(context.Background()), 7, limit)
		want := wasLimit
		if limit > 0 {
			want = min(limit, wasLimit)
		}
		if percent() != 7 || debug.SetMemoryLimit(-1) != want {
			t.Errorf("limit %d: percent %d, limit %d", limit, percent(), debug.SetMemoryLimit(-1))
		}
		restore()
		if percent() != wasPercent || debug.SetMemoryLimit(-1) != wasLimit {
			t.Error("the settings were not put back")
		}
	}
}
