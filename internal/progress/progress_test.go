package progress

import (
	"maps"
	"sync"
	"testing"
)

func TestCounts(t *testing.T) {
	Add(Read, 1)
	before := Counts()
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 100 {
				Add(Tokens, 3)
			}
		}()
	}
	wg.Wait()
	if got := Since(before); !maps.Equal(got, map[string]int64{Tokens: 2400}) {
		t.Errorf("%v", got)
	}
}
