package mem

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// TestNoRoom: a block that the system cannot have is an error where it is caught, with how much is wanted, and nothing of it is counted.
func TestNoRoom(t *testing.T) {
	before := held.Load()
	try := func(n int) (err error) {
		defer Catch(&err, "take less")
		AllocFloat32(n).Free()
		return nil
	}
	for _, n := range []int{1 << 44, 1 << 60, math.MaxInt64, Floats(1<<40, 1<<40), Floats(1<<62, 3), Floats(-1, 2)} {
		var room *NoRoom
		if err := try(n); !errors.As(err, &room) || !strings.Contains(err.Error(), "GiB") ||
			!strings.HasSuffix(err.Error(), "; take less") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%d values: %v", n, err)
		}
	}
	if err := try(1 << 20); err != nil || held.Load() != before {
		t.Errorf("4 MiB: %v, %d bytes are counted", err, held.Load()-before)
	}
	func() {
		defer func() {
			if recover() != "another" {
				t.Error("another panic was caught")
			}
		}()
		var err error
		defer Catch(&err, "")
		panic("another")
	}()
	if Floats(3, 4, 5) != 60 || Floats(1<<40, 0, 1<<40) != 0 {
		t.Error("products")
	}
}
