package pool

import (
	"testing"
	"time"
)

func TestWorkOf(t *testing.T) {
	for line, want := range map[string]time.Duration{
		"cpu  10 2 3 1000 500 4 5 600 70 8\ncpu0 1": 240 * time.Millisecond,
		"cpu  10 2 3 1000 500 4 5\n":                240 * time.Millisecond,
		"cpu  10 2 3 1000 500 4 5":                  -1, // cut short: the last number may be
		"cpu  10 2 3\n":                             -1,
		"cpu0 10 2 3 1000 500 4 5 600\n":            -1,
		"":                                          -1,
	} {
		if got, ok := workOf([]byte(line)); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %v, %v", line, got, ok)
		}
	}
}
