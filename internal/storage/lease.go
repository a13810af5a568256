package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"
)

// LeaseExt is the extension of leases' names, by which sweeping knows them.
const LeaseExt = ".lease"

// leaseSlack is added to a lease's time by who wants to take it over: stores tell their times in whole seconds.
const leaseSlack = time.Second

// HeldError says who holds a lease.
type HeldError struct {
	URI, Owner string
	Since      time.Duration // since it was renewed
	TTL        time.Duration
}

// Error names the lease, its holder and when it ends.
func (e *HeldError) Error() string {
	return fmt.Sprintf("%s: %v by %s, who renewed it %v ago; wait until it ends there, or, if that machine is lost, for at most %v more",
		e.URI, ErrLocked, e.Owner, e.Since.Round(time.Second), max(0, e.TTL+leaseSlack-e.Since).Round(time.Second))
}

// Unwrap makes errors.Is(err, ErrLocked) true.
func (e *HeldError) Unwrap() error { return ErrLocked }

// Lease is a held lock. On an object store it is an object that its holder rewrites every third of its time; another one may take it when
// it was not for the whole time, by the store's clock. On a local disk it is the lock of a file, which ends with the process.
//
// A holder that was stopped for longer than the time finds the lease lost when it goes on, but may be in the middle of a write then: what
// must not be written twice is written by [PutIfAbsent] or [Swap].
type Lease struct {
	uri   string
	ttl   time.Duration
	ctx   context.Context
	stop  context.CancelCauseFunc
	ended chan struct{} // the renewing is over
	local func() error

	mu      sync.Mutex
	text    leaseText
	version Version
	until   time.Time // by this process's monotonic clock: the store's may be later, never earlier
}

// leaseText is what the object of a lease holds. The number makes two texts of a holder different: see [Version].
type leaseText struct {
	Owner    string  `json:"owner"`
	ID       string  `json:"id"` // of the holder, which no other one has
	TTL      float64 `json:"ttl_seconds"`
	Number   int     `json:"number"`
	Released bool    `json:"released"`
}

// errReleased is why the context of a lease that was given back is done.
var errReleased = errors.New("the lease was released")

// Hold takes the lease at uri for the owner, a name that people read ("host/pid"), and renews it until it is released. One that another
// holds gives a [HeldError] at once, without waiting. ttl is how long a holder may be silent: at least a few seconds, since stores tell
// whole ones. A local uri is locked as [LockDir] locks, where ttl means nothing.
func Hold(ctx context.Context, uri, owner string, ttl time.Duration) (*Lease, error) {
	l := &Lease{uri: uri, ttl: ttl, ended: make(chan struct{}),
		text: leaseText{Owner: owner, ID: fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()), TTL: ttl.Seconds()}}
	if IsLocal(uri) {
		return l, l.lockLocal()
	}
	s, err := objects(uri)
	if err != nil {
		return nil, err
	}
	have := Absent
	raw, info, err := s.Fetch(ctx, uri, KindNote.Max)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		var old leaseText
		if err := json.Unmarshal(raw, &old); err != nil {
			return nil, fmt.Errorf("%s: it is not a lease: %w", uri, err)
		}
		if info.Now.IsZero() {
			return nil, fmt.Errorf("%s: the store does not tell its time, by which leases end", uri)
		}
		allowed, silent := time.Duration(old.TTL*float64(time.Second)), info.Now.Sub(info.Modified)
		if !old.Released && silent <= allowed+leaseSlack {
			return nil, &HeldError{URI: uri, Owner: old.Owner, Since: silent, TTL: allowed}
		}
		have = info.Version
	}
	l.version = have
	if err := l.write(ctx); err != nil {
		if errors.Is(err, ErrChanged) || errors.Is(err, ErrExists) { // another one was faster
			return nil, &HeldError{URI: uri, Owner: "another process", TTL: ttl}
		}
		return nil, err
	}
	l.begin()
	go l.renew()
	return l, nil
}

func (l *Lease) begin() {
	l.ctx, l.stop = context.WithCancelCause(context.Background())
}

func (l *Lease) lockLocal() error {
	path := Local(l.uri)
	if err := MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	f, release, err := lockFile(path)
	if errors.Is(err, errBusy) {
		return &LockedError{Dir: path, PID: lockHolder(path)}
	}
	if err != nil {
		return explain(path, err)
	}
	if err := writePID(f); err != nil {
		release()
		return explain(path, err)
	}
	l.local = release
	close(l.ended)
	l.begin()
	return nil
}

// write swaps the lease's object for one with the next number. The lock is the caller's, or nobody else has the lease yet.
func (l *Lease) write(ctx context.Context) error {
	l.text.Number++
	raw, err := json.Marshal(l.text)
	if err != nil {
		return err
	}
	until := time.Now().Add(l.ttl) // before it is sent, so that the store's is not earlier
	v, err := Swap(ctx, l.uri, l.version, raw)
	if errors.Is(err, ErrChanged) && l.ctx != nil {
		// It may be by an earlier call of this holder that was given up before its answer came.
		there, info, ferr := Fetch(ctx, l.uri, KindNote)
		var is leaseText
		if ferr == nil && json.Unmarshal(there, &is) == nil && is.ID == l.text.ID && !is.Released {
			v, err = Swap(ctx, l.uri, info.Version, raw)
		}
	}
	if err == nil {
		l.version, l.until = v, until
	}
	return err
}

// renew rewrites the lease until it ends.
func (l *Lease) renew() {
	defer close(l.ended)
	for wait := l.ttl / 3; ; {
		select {
		case <-l.ctx.Done():
			return
		case <-time.After(wait):
		}
		l.mu.Lock()
		if l.ctx.Err() != nil {
			l.mu.Unlock()
			return
		}
		ctx, cancel := context.WithDeadline(l.ctx, l.until)
		err := l.write(ctx)
		cancel()
		late := !time.Now().Before(l.until)
		l.mu.Unlock()
		switch {
		case l.ctx.Err() != nil:
			return
		case errors.Is(err, ErrChanged), late:
			l.lost(err)
			return
		case err != nil: // it may still be in time
			wait = min(l.ttl/10, time.Second)
		default:
			wait = l.ttl / 3
		}
	}
}

func (l *Lease) lost(cause error) {
	err := fmt.Errorf("%s: %w: it could not be renewed in %v, so that another process may go on here; run again", l.uri, ErrLeaseLost,
		l.ttl)
	if errors.Is(cause, ErrChanged) {
		err = fmt.Errorf("%s: %w: another process has taken it over, since it was not renewed in %v; run again", l.uri, ErrLeaseLost, l.ttl)
	} else if cause != nil {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	l.stop(err)
}

// Context is done when the lease is lost, with an error as its cause that wraps [ErrLeaseLost], and when it is released. What runs under
// the lease runs under it.
func (l *Lease) Context() context.Context { return l.ctx }

// Err is the error of a lease that is lost or released. It is asked before a write that only the holder may make.
func (l *Lease) Err() error {
	if l.local == nil && l.ctx.Err() == nil {
		l.mu.Lock()
		late := !time.Now().Before(l.until)
		l.mu.Unlock()
		if late { // the process was stopped, and its renewing has not gone on yet
			l.lost(nil)
		}
	}
	return context.Cause(l.ctx)
}

// Release gives the lease back, so that the next one need not wait. That it was lost is an error; a lease is released once.
func (l *Lease) Release(ctx context.Context) error {
	err := l.Err()
	if errors.Is(err, errReleased) {
		return nil
	}
	l.stop(errReleased)
	<-l.ended
	switch {
	case err != nil:
		return err
	case l.local != nil:
		return l.local()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Released = true
	if err := l.write(ctx); errors.Is(err, ErrChanged) {
		return fmt.Errorf("%s: %w: another process has taken it over", l.uri, ErrLeaseLost)
	} else if err != nil {
		return err
	}
	return nil
}
