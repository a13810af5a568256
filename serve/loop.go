package serve

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/peft"
)

// loop is the engine's goroutine: it takes in what was asked, lets go of what was given up, and steps.
func (e *Live) loop() {
	defer close(e.done)
	for {
		e.mu.Lock()
		e.queue, e.asked = append(e.queue, e.asked...), nil
		closing := e.closing
		e.mu.Unlock()
		if closing {
			for _, a := range e.queue {
				a.end(ErrClosed)
			}
			for _, a := range e.running {
				a.end(ErrClosed)
			}
			return
		}
		e.letGo()
		e.admit()
		busy := false
		for _, l := range append([]*lane{e.main}, e.lanes...) {
			if l.live() > 0 {
				busy = true
				e.step(l)
			}
		}
		e.report(busy)
		if !busy {
			<-e.wake
		}
	}
}

// letGo ends what clients have given up.
func (e *Live) letGo() {
	e.queue = slices.DeleteFunc(e.queue, func(a *answer) bool {
		if a.gone.Load() {
			a.end(nil)
		}
		return a.gone.Load()
	})
	for q, a := range e.running {
		if a.gone.Load() {
			e.laneOf(a.r).batch.Leave(q)
			e.over(q, a, nil)
		}
	}
}

func (e *Live) laneOf(r *resident) *lane {
	if r == nil {
		return e.main
	}
	return r.lane
}

// over is called when a sequence has ended.
func (e *Live) over(q *evaluate.Sequence, a *answer, err error) {
	delete(e.running, q)
	if a.r != nil {
		a.r.users--
	}
	a.end(err)
}

// ownerMark stands between whose a sequence is and what adapter reads it.
const ownerMark = "\x00adapter\x00"

// admit lets those who wait into their lanes, in their order; who must wait for room has those behind him wait too, but not who waits for
// an adapter to be read.
func (e *Live) admit() {
	full := map[*lane]bool{}
	if e.wanted != nil {
		full[e.main] = true
		if e.main.live() == 0 {
			e.learn()
			full = map[*lane]bool{}
		}
	}
	var left []*answer
	for _, a := range e.queue {
		r, err := e.residentOf(a, full)
		if err != nil {
			a.end(err)
			continue
		}
		if r == nil && a.ask.Voice.edition.folder != "" {
			left = append(left, a)
			continue
		}
		l := e.laneOf(r)
		if full[l] {
			left = append(left, a)
			continue
		}
		if a.embed != nil {
			a.end(e.embed(a, l, r))
			continue
		}
		q := &a.ask.Sequence
		q.Slot = -1
		if r != nil {
			q.Slot = r.slot
		}
		if r != nil && r.invoked {
			q.Owner = ""
		}
		if q.Owner != "" && !strings.Contains(q.Owner, ownerMark) { // and of an adapter as it is now
			q.Owner += ownerMark + a.ask.Voice.edition.key()
		}
		if err := l.batch.Check(q); err != nil {
			a.end(refuse("%v", err))
			continue
		}
		if l.batch.Awaits(q) {
			left = append(left, a)
			continue
		}
		if !l.batch.Join(q) {
			full[l] = true
			left = append(left, a)
			continue
		}
		if a.r = r; r != nil {
			r.users++
		}
		e.running[q] = a
		a.begin(q.Cached())
	}
	e.queue = left
	e.residents = slices.DeleteFunc(e.residents, func(r *resident) bool { // whoever wanted it has gone
		unused := r.lane == nil && r.isOpen() && r.adapter != e.wanted &&
			!slices.ContainsFunc(left, func(a *answer) bool { return a.ask.Voice.edition == r.edition })
		if unused {
			e.poke() // others may be read
			if r.model != nil {
				_ = r.model.Close()
			}
		}
		return unused
	})
}

func (e *Live) embed(a *answer, l *lane, r *resident) error {
	slot := -1
	if r != nil {
		slot = r.slot
	}
	return a.embed(l.m, slot)
}

// step runs a pass of a lane.
func (e *Live) step(l *lane) {
	l.batch.Step(func(q *evaluate.Sequence, s evaluate.Said) {
		a := e.running[q]
		if s.Err != nil {
			e.over(q, a, s.Err)
			return
		}
		if s.ID >= 0 {
			a.say(s)
		}
		if s.Last {
			e.over(q, a, nil)
		}
	})
}

// report writes down the numbers.
func (e *Live) report(stepped bool) {
	rows := 0
	for _, l := range append([]*lane{e.main}, e.lanes...) {
		_, n := l.batch.Live()
		rows += n
	}
	held := map[string]int{}
	for _, r := range e.residents {
		if r.lane != nil {
			held[r.name] += r.users
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if stepped {
		e.stats.Steps++
	}
	e.stats.Running, e.stats.Rows, e.stats.RowsUsed = len(e.running), e.plan.Size.Rows, rows
	e.waiting = len(e.queue) + len(e.asked)
	if !maps.Equal(e.adapters, held) {
		e.adapters = held
	}
}

// residentOf is the adapter of an answer when it has a place, nil while it has none and for the base.
func (e *Live) residentOf(a *answer, full map[*lane]bool) (*resident, error) {
	ed := a.ask.Voice.edition
	if ed.folder == "" {
		return nil, nil
	}
	i := slices.IndexFunc(e.residents, func(r *resident) bool { return r.key() == ed.key() })
	if i < 0 {
		if e.unplaced() >= max(e.o.Sequences, 4) { // what is read lies in memory until it has a place
			return nil, nil
		}
		r := &resident{edition: ed, opened: make(chan struct{})}
		e.residents = append(e.residents, r)
		go func() {
			r.err = e.read(r)
			close(r.opened)
			e.poke()
		}()
		return nil, nil
	}
	r := e.residents[i]
	if !r.isOpen() {
		return nil, nil
	}
	if r.err == nil && r.lane == nil {
		r.err = e.place(r, full)
	}
	if r.err != nil {
		e.residents = slices.Delete(e.residents, i, i+1)
		if r.model != nil && r.lane == nil {
			_ = r.model.Close()
		}
		var own *Refused
		if errors.As(r.err, &own) {
			return nil, own
		}
		e.o.Log.Error("an adapter does not load", "adapter", r.name, "error", r.err)
		return nil, refuse("the adapter %q cannot be used with this base model", r.name)
	}
	if r.lane == nil {
		return nil, nil
	}
	e.clock++
	r.used = e.clock
	return r, nil
}

// unplaced is the number of adapters that are being read, or wait for a place.
func (e *Live) unplaced() (n int) {
	for _, r := range e.residents {
		if r.lane == nil {
			n++
		}
	}
	return n
}

// place finds a place for an adapter that was read; where there is none now it is tried again.
func (e *Live) place(r *resident, full map[*lane]bool) error {
	r.invoked = r.adapter != nil && r.adapter.Invoked()
	if r.alone() {
		return e.placeAlone(r)
	}
	if !e.bank.Knows(r.adapter) {
		if e.wanted == nil {
			e.wanted = r.adapter
			full[e.main] = true
			e.poke()
		}
		return nil
	}
	if e.wanted != nil {
		return nil
	}
	slot, ok := e.freeSlot()
	if !ok {
		return nil
	}
	if err := e.bank.Put(slot, r.adapter); err != nil {
		return err
	}
	r.lane, r.slot, r.adapter = e.main, slot, nil
	e.count(func(s *Stats) { s.AdapterLoads++ })
	return nil
}

func (e *Live) count(f func(*Stats)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.stats)
}

// freeSlot is a slot of the bank: an empty one, or that of the adapter that nobody uses and was used the longest ago.
func (e *Live) freeSlot() (int, bool) {
	taken := make([]bool, e.bank.Slots())
	var oldest *resident
	for _, r := range e.residents {
		if r.lane != e.main {
			continue
		}
		taken[r.slot] = true
		if r.users == 0 && (oldest == nil || r.used < oldest.used) {
			oldest = r
		}
	}
	if i := slices.Index(taken, false); i >= 0 {
		return i, true
	}
	if oldest == nil {
		return 0, false
	}
	e.drop(oldest)
	return oldest.slot, true
}

// drop takes an adapter out of memory.
func (e *Live) drop(r *resident) {
	e.residents = slices.DeleteFunc(e.residents, func(x *resident) bool { return x == r })
	if r.lane == e.main {
		e.bank.Leave(r.slot)
	} else if r.lane != nil {
		e.lanes = slices.DeleteFunc(e.lanes, func(l *lane) bool { return l == r.lane })
		r.lane.close()
	}
	e.count(func(s *Stats) { s.AdapterEvictions++ })
}

// learn compiles the main lane again, with one more form of adapters. Nothing is in it.
func (e *Live) learn() {
	wanted := e.wanted
	e.wanted = nil
	for _, r := range slices.Clone(e.residents) {
		if r.lane == e.main {
			e.drop(r)
		}
	}
	e.main.close()
	forms := e.bank.Free()
	size := e.plan.Size
	bank, err := bankFor(append(slices.Clone(forms), wanted), e.o.AdapterMemory, mostSlots)
	if err != nil || len(forms) >= mostForms {
		bank, err = bankFor([]*peft.Adapter{wanted}, e.o.AdapterMemory, mostSlots)
	}
	if err != nil {
		e.fail(wanted, err)
		bank, err = bankFor(forms, e.o.AdapterMemory, mostSlots)
	}
	if err == nil {
		e.bank = bank
		e.main, err = newLane(e.mainModel(), false, size)
	}
	if err != nil { // what there was before fits
		panic(fmt.Sprintf("serve: the program cannot be compiled again: %v", err))
	}
}

// fail says why an adapter that was read has no place.
func (e *Live) fail(a *peft.Adapter, err error) {
	for _, r := range e.residents {
		if r.adapter == a {
			r.err = err
		}
	}
}

// placeAlone makes a lane for an adapter that shares no pass. There is one such lane at a time.
func (e *Live) placeAlone(r *resident) error {
	for _, l := range e.lanes {
		if l.live() > 0 {
			return nil
		}
	}
	for _, x := range slices.Clone(e.residents) {
		if x.lane != nil && x.lane != e.main {
			e.drop(x)
		}
	}
	m := r.model
	if m == nil {
		m = e.base.Over(r.adapter, r.folder)
	}
	l, err := newLane(m, true, e.plan.Alone)
	if err != nil {
		if r.model == nil {
			_ = m.Close()
		}
		return err
	}
	r.lane, r.slot, r.adapter = l, 0, nil
	e.lanes = append(e.lanes, l)
	e.count(func(s *Stats) { s.AdapterLoads++ })
	return nil
}
