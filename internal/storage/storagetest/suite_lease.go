package storagetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage"
)

func tryLease(t *testing.T, p *Place, dir string) {
	uri := storage.Join(dir, "run"+storage.LeaseExt)
	one := must(storage.Hold(t.Context(), uri, "driver one", time.Minute))(t)
	if err := one.Err(); err != nil {
		t.Error(err)
	}
	_, err := storage.Hold(t.Context(), uri, "driver two", time.Minute)
	wrong(t, err, storage.ErrLocked, uri)
	if h := (*storage.HeldError)(nil); p.Faults != nil && (!errors.As(err, &h) || h.Owner != "driver one" ||
		!strings.Contains(err.Error(), "driver one")) {
		t.Errorf("%v does not name the holder", err)
	}
	if err := one.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if one.Context().Err() == nil || one.Err() == nil {
		t.Error("a lease that was given back looks held")
	}
	two := must(storage.Hold(t.Context(), uri, "driver two", time.Minute))(t)
	if err := two.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func tryLeaseOfOne(t *testing.T, p *Place, dir string) {
	uri := storage.Join(dir, "run"+storage.LeaseExt)
	var mu sync.Mutex
	var held []*storage.Lease
	var wait sync.WaitGroup
	for range 6 {
		wait.Go(func() {
			l, err := storage.Hold(context.Background(), uri, "driver", time.Minute)
			if err == nil {
				mu.Lock()
				held = append(held, l)
				mu.Unlock()
			} else if !errors.Is(err, storage.ErrLocked) {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if len(held) != 1 {
		t.Errorf("%d hold it", len(held))
	}
	for _, l := range held {
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// tryTakeOver: a lease whose time is over by the store's clock is taken over, and its holder sees it.
func tryTakeOver(t *testing.T, p *Place, dir string) {
	server(t, p)
	slow(t)
	uri := storage.Join(dir, "run"+storage.LeaseExt)
	const ttl = 4 * time.Second
	one := must(storage.Hold(t.Context(), uri, "driver one", ttl))(t)
	time.Sleep(ttl / 2) // it renews
	if err := one.Err(); err != nil {
		t.Fatal(err)
	}
	p.Later(t, dir, ttl+5*time.Second)
	two := must(storage.Hold(t.Context(), uri, "driver two", time.Minute))(t)
	select {
	case <-one.Context().Done():
	case <-time.After(2 * ttl):
		t.Fatal("the holder did not see that it lost the lease")
	}
	wrong(t, one.Err(), storage.ErrLeaseLost, uri)
	wrong(t, context.Cause(one.Context()), storage.ErrLeaseLost)
	wrong(t, one.Release(t.Context()), storage.ErrLeaseLost)
	_, err := storage.Hold(t.Context(), uri, "driver three", ttl)
	wrong(t, err, storage.ErrLocked, "driver two")
	if err := two.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// tryLeaseTrouble: faults shorter than the time are not seen, longer ones end the lease.
func tryLeaseTrouble(t *testing.T, p *Place, dir string) {
	server(t, p)
	slow(t)
	const name = "trouble" + storage.LeaseExt
	uri := storage.Join(dir, name)
	const ttl = 4 * time.Second
	l := must(storage.Hold(t.Context(), uri, "driver", ttl))(t)
	p.Faults.Add(Fault{Kind: Lost, Method: p.Write, Path: name})
	p.Faults.Add(Fault{Kind: Broken, Method: p.Write, Path: name, First: 3})
	time.Sleep(ttl + ttl/2)
	if err := l.Err(); err != nil {
		t.Fatalf("lost by faults that passed: %v", err)
	}
	p.Faults.Add(Fault{Kind: Broken, Method: p.Write, Path: name, Times: -1})
	select {
	case <-l.Context().Done():
	case <-time.After(2 * ttl):
		t.Fatal("the holder goes on although it cannot renew")
	}
	wrong(t, l.Err(), storage.ErrLeaseLost, uri)
}
