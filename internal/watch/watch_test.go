package watch

import (
	"slices"
	"testing"
)

func TestRuns(t *testing.T) {
	var r Runs[int]
	var a, b, all []int
	stop := r.Watch("a", func(v int) { a = append(a, v) })
	defer r.Watch("b", func(v int) { b = append(b, v) })()
	defer r.Watch("", func(v int) { all = append(all, v) })()
	r.Tell("a", 1)
	r.Tell("b", 2)
	r.Tell("c", 3)
	stop()
	stop()
	r.Tell("a", 4)
	if !slices.Equal(a, []int{1}) || !slices.Equal(b, []int{2}) || !slices.Equal(all, []int{1, 2, 3, 4}) {
		t.Errorf("a saw %v, b %v, all %v", a, b, all)
	}
}
