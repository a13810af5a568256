package nn

import (
	"strings"
	"testing"
)

// TestShapesOutOfProportion: the number of values of a shape saturates, so that a plan of it is too large rather than small.
func TestShapesOutOfProportion(t *testing.T) {
	for _, c := range []struct {
		t, cols, want int
	}{{100, 7, 700}, {1 << 30, 1 << 10, 1 << 40}, {1 << 31, 1 << 28, mostValues}, {1 << 62, 3, mostValues}} {
		if n := (Shape{Rows: T, Cols: c.cols}).Len(Caps{T: c.t}); n != c.want {
			t.Errorf("%d x %d values are %d, want %d", c.t, c.cols, n, c.want)
		}
	}
	for _, o := range []Options{{Caps: Caps{T: 1 << 40, S: 1, N: 1}}, {Caps: Caps{T: 1, S: 1, N: 1, C: 1 << 33}}} {
		if _, err := Compile(nil, nil, NewParams(1), o); err == nil || !strings.Contains(err.Error(), "batch_size") {
			t.Errorf("%+v: %v", o.Caps, err)
		}
	}
}
