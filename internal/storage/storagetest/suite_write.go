package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage"
)

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func body(text string) io.ReadSeeker { return strings.NewReader(text) }

// holds compares what an object holds.
func holds(t *testing.T, uri, want string) {
	t.Helper()
	b, _, err := storage.Fetch(t.Context(), uri, storage.KindState)
	if err != nil || string(b) != want {
		t.Errorf("%s: %q %v, want %q", uri, b, err, want)
	}
}

// wrong compares what an error is and what it says.
func wrong(t *testing.T, err, is error, says ...string) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Errorf("%v, want %v", err, is)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%v\nwant it to say %q", err, s)
		}
	}
}

func tryPutIfAbsent(t *testing.T, p *Place, dir string) {
	uri := storage.Join(dir, "a")
	v := must(storage.PutIfAbsent(t.Context(), uri, body("one")))(t)
	if v == storage.Absent {
		t.Error("no version")
	}
	_, err := storage.PutIfAbsent(t.Context(), uri, body("two"))
	wrong(t, err, storage.ErrExists, uri)
	wrong(t, err, fs.ErrExist)
	holds(t, uri, "one")
	if i := must(storage.Stat(t.Context(), uri))(t); i.Version != v || i.Size != 3 {
		t.Errorf("%+v, want version %s", i, v)
	}

	uri = storage.Join(dir, "race")
	var won sync.Map
	var wait sync.WaitGroup
	for k := range 8 {
		wait.Go(func() {
			_, err := storage.PutIfAbsent(context.Background(), uri, body(fmt.Sprint(k)))
			if err == nil {
				won.Store(k, true)
			} else if !errors.Is(err, storage.ErrExists) {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	n := 0
	won.Range(func(k, _ any) bool { n++; holds(t, uri, fmt.Sprint(k)); return true })
	if n != 1 {
		t.Errorf("%d of 8 have written", n)
	}
}

func trySwap(t *testing.T, p *Place, dir string) {
	uri := storage.Join(dir, "a")
	one := must(storage.Swap(t.Context(), uri, storage.Absent, []byte("one")))(t)
	two := must(storage.Swap(t.Context(), uri, one, []byte("two")))(t)
	_, err := storage.Swap(t.Context(), uri, one, []byte("three"))
	wrong(t, err, storage.ErrChanged, uri)
	holds(t, uri, "two")
	if _, i, err := storage.Fetch(t.Context(), uri, storage.KindState); err != nil || i.Version != two {
		t.Errorf("version %s %v, want %s", i.Version, err, two)
	}
	if err := storage.Remove(uri); err != nil {
		t.Fatal(err)
	}
	_, err = storage.Swap(t.Context(), uri, two, []byte("three"))
	wrong(t, err, storage.ErrChanged, uri)
	if ok, err := storage.Exists(uri); ok || err != nil {
		t.Errorf("a swap has made it anew: %v", err)
	}
}

// tryCounter: of increments by compare and swap none is lost.
func tryCounter(t *testing.T, p *Place, dir string) {
	uri := storage.Join(dir, "n")
	must(storage.PutIfAbsent(t.Context(), uri, body("0")))(t)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for done := 0; done < 5; {
				raw, i, err := storage.Fetch(context.Background(), uri, storage.KindState)
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(string(raw))
				_, err = storage.Swap(context.Background(), uri, i.Version, []byte(strconv.Itoa(n+1)))
				if err == nil {
					done++
				} else if !errors.Is(err, storage.ErrChanged) {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	holds(t, uri, "20")
}

func tryWriteOnce(t *testing.T, p *Place, dir string) {
	uri := storage.Join(dir, "a")
	for _, text := range []string{"one", "two"} {
		if b, err := storage.WriteOnce(uri, []byte(text)); err != nil || string(b) != "one" {
			t.Errorf("%q %v", b, err)
		}
	}
}

// tryLost: a write whose answer is lost has been made, and is known as the caller's own.
func tryLost(t *testing.T, p *Place, dir string) {
	server(t, p)
	uri := storage.Join(dir, "mine")
	p.Faults.Add(Fault{Kind: Lost, Method: p.Write, Path: "mine"})
	v := must(storage.PutIfAbsent(t.Context(), uri, body("one")))(t)
	if n := p.Faults.Requests(p.Write, "mine"); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
	p.Faults.Clear()
	p.Faults.Add(Fault{Kind: Lost, Method: p.Write, Path: "mine"})
	v = must(storage.Swap(t.Context(), uri, v, []byte("two")))(t)
	holds(t, uri, "two")
	must(storage.Swap(t.Context(), uri, v, []byte("three")))(t)

	uri = storage.Join(dir, "theirs")
	must(storage.PutIfAbsent(t.Context(), uri, body("equal")))(t)
	p.Faults.Add(Fault{Kind: Reset, Method: p.Write, Path: "theirs"})
	_, err := storage.PutIfAbsent(t.Context(), uri, body("equal"))
	wrong(t, err, storage.ErrExists)
}

// tryTransient: what passes is not seen.
func tryTransient(t *testing.T, p *Place, dir string) {
	server(t, p)
	for _, kind := range []string{Throttle, Broken, Reset, Lost, Slow} {
		t.Run(kind, func(t *testing.T) {
			name := "transient-" + kind
			uri := storage.Join(dir, name, "a")
			steps := []struct {
				name string
				do   func() error
			}{
				{"put", func() error { _, err := storage.PutIfAbsent(t.Context(), uri, body("one")); return err }},
				{"overwrite", func() error { return storage.WriteFile(storage.Join(dir, name, "b"), []byte("two")) }},
				{"fetch", func() error { holds(t, uri, "one"); return nil }},
				{"stat", func() error { _, err := storage.Stat(t.Context(), uri); return err }},
				{"read", func() error { _, err := storage.ReadFile(uri); return err }},
				{"list", func() error {
					n := 0
					err := storage.List(t.Context(), storage.Join(dir, name), func(storage.Info) error { n++; return nil })
					if err == nil && n != 2 {
						err = fmt.Errorf("%d objects", n)
					}
					return err
				}},
				{"remove", func() error { return storage.Remove(uri) }},
			}
			for _, s := range steps {
				p.Faults.Clear()
				p.Faults.Add(Fault{Kind: kind, Path: name, Times: 1, Delay: 50 * time.Millisecond})
				if err := s.do(); err != nil {
					t.Errorf("%s: %v", s.name, err)
				}
				if p.Faults.Requests("", name) < 1 {
					t.Errorf("%s: nothing was asked", s.name)
				}
			}
		})
	}
	uri := storage.Join(dir, "cut")
	must(storage.PutIfAbsent(t.Context(), uri, body(strings.Repeat("0123456789", 1000))))(t)
	for _, do := range []func(){func() { holds(t, uri, strings.Repeat("0123456789", 1000)) },
		func() {
			if b, err := storage.ReadFile(uri); err != nil || len(b) != 10000 {
				t.Errorf("%d bytes: %v", len(b), err)
			}
		}} {
		p.Faults.Clear()
		p.Faults.Add(Fault{Kind: Cut, Method: "GET", Path: "cut", Times: 2})
		do()
	}
}

// tryConflict: a conditional write that met another one (409) is made again.
func tryConflict(t *testing.T, p *Place, dir string) {
	server(t, p)
	p.Faults.Add(Fault{Kind: Conflict, Method: p.Write, Path: "conflict", Times: 2})
	must(storage.PutIfAbsent(t.Context(), storage.Join(dir, "conflict"), body("one")))(t)
}

func tryRetryAfter(t *testing.T, p *Place, dir string) {
	server(t, p)
	slow(t)
	p.Faults.Add(Fault{Kind: Throttle, Path: "later", RetryAfter: 2 * time.Second})
	start := time.Now()
	must(storage.PutIfAbsent(t.Context(), storage.Join(dir, "later"), body("one")))(t)
	if d := time.Since(start); d < 2*time.Second {
		t.Errorf("tried again after %v, before the time", d)
	}
}

// tryRefused: what a person has to mend is one clear error, at once.
func tryRefused(t *testing.T, p *Place, dir string) {
	server(t, p)
	uri := storage.Join(dir, "refused")
	must(storage.PutIfAbsent(t.Context(), uri, body("one")))(t)
	for _, c := range []struct {
		kind string
		is   error
		says string
	}{{Forbidden, storage.ErrForbidden, "rights"}, {Expired, storage.ErrCredentials, "have run out"}} {
		for name, do := range map[string]func() error{
			"put":   func() error { _, err := storage.PutIfAbsent(t.Context(), uri, body("two")); return err },
			"fetch": func() error { _, _, err := storage.Fetch(t.Context(), uri, storage.KindState); return err },
			"stat":  func() error { _, err := storage.Stat(t.Context(), uri); return err },
			"list":  func() error { return storage.List(t.Context(), dir, func(storage.Info) error { return nil }) },
		} {
			p.Faults.Clear()
			p.Faults.Add(Fault{Kind: c.kind, Times: -1})
			err := do()
			wrong(t, err, c.is, dir, c.says)
			if n := p.Faults.Requests("", ""); n > 2 { // the second asks for what HEAD does not tell
				t.Errorf("%s of %s: asked %d times", name, c.kind, n)
			}
		}
	}
	p.Faults.Clear()
	_, err := storage.PutIfAbsent(t.Context(), p.Missing, body("one"))
	wrong(t, err, storage.ErrNoBucket, p.Missing)
	_, _, err = storage.Fetch(t.Context(), storage.Join(dir, "none"), storage.KindState)
	wrong(t, err, fs.ErrNotExist, storage.Join(dir, "none"))
}

// tryCancelled: who no longer waits is not kept waiting.
func tryCancelled(t *testing.T, p *Place, dir string) {
	server(t, p)
	uri := storage.Join(dir, "cancelled")
	for _, f := range []Fault{{Kind: Slow, Times: -1, Delay: 2 * time.Second}, {Kind: Throttle, Times: -1, RetryAfter: time.Minute}} {
		p.Faults.Clear()
		p.Faults.Add(f)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		start := time.Now()
		_, err := storage.PutIfAbsent(ctx, uri, body("one"))
		wrong(t, err, context.DeadlineExceeded, uri)
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%s: it took %v", f.Kind, d)
		}
		cancel()
	}
}

// tryImpatience: trying again ends.
func tryImpatience(t *testing.T, p *Place, dir string) {
	server(t, p)
	slow(t)
	p.Patience(t, time.Second)
	uri := storage.Join(dir, "never")
	for kind, is := range map[string]error{Throttle: storage.ErrThrottled, Broken: storage.ErrUnavailable, Reset: storage.ErrUnavailable} {
		p.Faults.Clear()
		p.Faults.Add(Fault{Kind: kind, Times: -1, RetryAfter: time.Hour})
		start := time.Now()
		_, err := storage.PutIfAbsent(t.Context(), uri, body("one"))
		wrong(t, err, is, uri)
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%s: tried for %v", kind, d)
		}
		if n := p.Faults.Requests("", ""); n < 2 && kind != Throttle {
			t.Errorf("%s: tried %d times", kind, n)
		}
	}
}

// tryLarge: what goes up in parts has the same preconditions, and faults in the middle of it are not seen.
func tryLarge(t *testing.T, p *Place, dir string) {
	data := make([]byte, 21<<20+3)
	rand.NewChaCha8([32]byte{2}).Read(data)
	uri := storage.Join(dir, "large")
	if p.Faults != nil {
		for _, f := range []Fault{{Kind: Broken, First: 2}, {Kind: Throttle, First: 4}, {Kind: Reset, First: 6}} {
			p.Faults.Add(f)
		}
	}
	v := must(storage.PutIfAbsent(t.Context(), uri, bytes.NewReader(data)))(t)
	_, err := storage.PutIfAbsent(t.Context(), uri, bytes.NewReader(data[1:]))
	wrong(t, err, storage.ErrExists)
	i := must(storage.Stat(t.Context(), uri))(t)
	if i.Version != v || i.Size != int64(len(data)) {
		t.Errorf("%+v", i)
	}
	if sum, err := storage.SHA256File(uri); err != nil || sum != storage.SHA256(data) {
		t.Errorf("another content: %v", err)
	}
	if p.Faults == nil {
		return
	}
	// The request that ends the upload is the one whose answer is lost.
	last := Fault{Kind: Lost, Method: "POST", Path: "uploadId"}
	if p.Generations {
		last = Fault{Kind: Lost, Method: "POST", Path: "/resumable/", First: 2}
	}
	p.Faults.Clear()
	p.Faults.Add(last)
	must(storage.PutIfAbsent(t.Context(), storage.Join(dir, "large-lost"), bytes.NewReader(data)))(t)
	p.Faults.Clear()
	p.Faults.Add(last)
	if err := storage.WriteFile(storage.Join(dir, "large-over"), data); err != nil {
		t.Error(err)
	}
}
