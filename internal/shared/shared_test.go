package shared

import (
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"
)

type big struct{ data []byte }

func TestMap(t *testing.T) {
	var m Map[string, big]
	made := 0
	get := func(key string) *big {
		v, err := m.Get(key, func() (*big, error) { made++; return &big{make([]byte, 1<<20)}, nil })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	a := get("a")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if get("a") != a {
				t.Error("another value")
			}
		})
	}
	wg.Wait()
	for range 20 {
		get("b") // which nobody keeps
	}
	if _, err := m.Get("c", func() (*big, error) { return nil, errors.New("none") }); err == nil || m.Len() > 2 {
		t.Errorf("%v, %d", err, m.Len())
	}
	left := func(n int) bool {
		for range 100 {
			if runtime.GC(); m.Len() == n {
				return true
			}
			time.Sleep(10 * time.Millisecond)
		}
		return false
	}
	if !left(1) {
		t.Errorf("%d values are held, want the one that is used", m.Len())
	}
	before := made
	if get("a") != a || made != before {
		t.Error("a value that is used was made again")
	}
	runtime.KeepAlive(a)
	a = nil
	if !left(0) {
		t.Errorf("%d values are held, which nobody uses", m.Len())
	}
}
