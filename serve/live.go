package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/tokenize"
)

// Options are what a [Live] engine is opened with. Zero fields have the defaults that are named.
type Options struct {
	Model         string // folder of the base model
	Name          string // by which the base is asked; that of its folder
	DType         string // how its weights are stored, as [infer.Open] has it
	Adapters      Folders
	Ends          tokenize.Ends
	Template      string   // a file with a chat template in place of the models' own
	MemoryLimit   int64    // bytes for all together; 0 for none
	AdapterMemory int64    // bytes for the adapters that are held; 256 MiB
	Context       int      // tokens of a sequence; the model's positions, 8192 at most
	Sequences     int      // that are continued at a time; 16
	Queue         int      // sequences that wait, at most; 1024
	CacheDType    nn.DType // of keys and values: nn.BFloat16 takes half the memory, and rounds them
	LoadFrom      string   // folder whose adapters [Live.Load] may name; "" for none
	Log           *slog.Logger
}

func (o *Options) fill() {
	if o.Name == "" {
		o.Name = filepath.Base(filepath.Clean(o.Model))
	}
	if o.AdapterMemory == 0 {
		o.AdapterMemory = 256 << 20
	}
	if o.Sequences == 0 {
		o.Sequences = 16
	}
	if o.Queue == 0 {
		o.Queue = 1024
	}
	o.Adapters.more = &loaded{from: o.LoadFrom}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// mostSlots is the number of adapters in memory, at most.
const mostSlots = 4096

// Live is the engine: one goroutine steps the lanes, and alone touches them. What others ask it finds under the lock.
type Live struct {
	o      Options
	base   *infer.Base
	self   *infer.Model // the base alone
	voices *voices
	plan   Plan

	head    headed
	scoring atomic.Int64

	wake chan struct{}
	done chan struct{}

	mu       sync.Mutex // of what follows, up to the next empty line
	asked    []*answer
	waiting  int
	closing  bool
	stats    Stats
	adapters map[string]int

	// The goroutine's own.
	main      *lane
	bank      *peft.Bank
	lanes     []*lane // the others
	queue     []*answer
	running   map[*evaluate.Sequence]*answer
	residents []*resident
	clock     int64
	wanted    *peft.Adapter // of a form that the bank does not know: the main lane empties for it
}

// NewLive loads the base, plans the memory and starts. What the plan does not hold is refused here, not later.
func NewLive(o Options) (_ *Live, err error) {
	o.fill()
	base, err := infer.Open(o.Model, o.DType)
	if err != nil {
		return nil, err
	}
	self, err := base.With("")
	if err != nil {
		_ = base.Close()
		return nil, err
	}
	e := &Live{o: o, base: base, self: self, wake: make(chan struct{}, 1), done: make(chan struct{}),
		head:    headed{turn: make(chan struct{}, 1)},
		running: map[*evaluate.Sequence]*answer{}}
	defer func() {
		if err != nil {
			_ = errors.Join(self.Close(), base.Close())
		}
	}()
	if t := self.Base.Config.Task; t == "SEQ_CLS" {
		return nil, fmt.Errorf("%s is a classifier: it has no words to answer with", o.Model)
	}
	if e.voices, err = newVoices(&e.o, self); err != nil {
		return nil, err
	}
	forms, err := e.forms()
	if err != nil {
		return nil, err
	}
	if e.bank, err = bankFor(forms, o.AdapterMemory, mostSlots); err != nil {
		return nil, err
	}
	if e.plan, err = planFor(&e.o, e.mainModel()); err != nil {
		e.bank.Free()
		return nil, err
	}
	if e.main, err = newLane(e.mainModel(), false, e.plan.Size); err != nil {
		e.bank.Free()
		return nil, err
	}
	e.voices.context = e.plan.Size.Context
	go e.loop()
	return e, nil
}

// Plan is the memory that was planned.
func (e *Live) Plan() Plan { return e.plan }

// mainModel is the model of the main lane.
func (e *Live) mainModel() *infer.Model {
	m := *e.self
	m.Adapters, m.Params = e.bank.Adapters(), e.bank.Params()
	return &m
}

// forms opens an adapter of each configuration that there is, so that programs know it from the start. What was named must open.
func (e *Live) forms() (out []*peft.Adapter, err error) {
	known := map[string]bool{}
	for _, name := range e.o.Adapters.Names() {
		ed, err := e.o.Adapters.find(name)
		if err == nil && known[configOf(ed.folder)] {
			continue
		}
		if err == nil && ed.folder != "" {
			if _, classes, err := peft.TaskOf(ed.folder); err == nil && classes > 0 {
				continue // it has no words: see Scores
			}
		}
		named := slices.ContainsFunc(e.o.Adapters.Named, func(n infer.Named) bool { return n.Name == name })
		r := &resident{edition: ed}
		if err == nil && ed.folder == "" {
			err = fmt.Errorf("no adapter lies in the folder of %q", name)
		}
		if err == nil {
			err = e.read(r)
		}
		switch {
		case err != nil && named:
			return nil, fmt.Errorf("the adapter %q: %w", name, err)
		case err != nil:
			e.o.Log.Warn("an adapter does not open", "adapter", name, "error", err)
			continue
		case r.model != nil:
			_ = r.model.Close()
			continue
		}
		known[configOf(ed.folder)] = true
		if r.alone() {
			continue
		}
		if b := knows(out, r.adapter); !b && len(out) < mostForms {
			out = append(out, r.adapter)
		}
	}
	return out, nil
}

// Close ends all that is being answered and frees the memory.
func (e *Live) Close() error {
	e.mu.Lock()
	closing := e.closing
	e.closing = true
	e.mu.Unlock()
	if closing {
		return nil
	}
	e.poke()
	<-e.done
	e.head.turn <- struct{}{}
	e.head.close()
	<-e.head.turn
	e.main.close()
	for _, l := range e.lanes {
		l.close()
	}
	for _, r := range e.residents {
		<-r.opened
		if r.lane == nil && r.model != nil {
			_ = r.model.Close()
		}
	}
	e.bank.Free()
	return errors.Join(e.self.Close(), e.base.Close())
}

func (e *Live) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Models implements Engine.
func (e *Live) Models() []Model {
	out := []Model{{Name: e.o.Name, Context: e.plan.Size.Context}}
	for _, n := range e.o.Adapters.Names() {
		if n != e.o.Name {
			out = append(out, Model{Name: n, Parent: e.o.Name})
		}
	}
	return out
}

// Open implements Engine.
func (e *Live) Open(name string) (*Voice, error) { return e.voices.open(name) }

// Start implements Engine.
func (e *Live) Start(asks ...*Ask) ([]Answer, error) {
	var out []Answer
	var list []*answer
	for _, a := range asks {
		if err := check(a); err != nil {
			return nil, err
		}
		x := newAnswer(e, a)
		list, out = append(list, x), append(out, x)
	}
	return out, e.enter(list...)
}

// check refuses what no lane can take.
func check(a *Ask) error {
	n, most := len(a.Prompt), a.Voice.Context
	switch {
	case n == 0:
		return refuse("the prompt has no tokens")
	case n > most || n == most && a.Sampling.MaxNewTokens > 0:
		return refuse("the prompt has %d tokens; the model's context length is %d", n, most)
	}
	return nil
}

// enter puts answers into the queue.
func (e *Live) enter(list ...*answer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closing:
		return ErrClosed
	case e.waiting+len(list) > e.o.Queue:
		return ErrFull
	}
	e.asked = append(e.asked, list...)
	e.waiting += len(list)
	e.poke()
	return nil
}

// Embed implements Engine.
func (e *Live) Embed(ctx context.Context, v *Voice, how infer.Pooling, texts [][]int32) ([][]float32, error) {
	for _, t := range texts {
		if len(t) == 0 || len(t) > v.Context {
			return nil, refuse("a text has %d tokens; it must have 1 to %d", len(t), v.Context)
		}
	}
	x := newAnswer(e, &Ask{Voice: v})
	x.embed = func(m *infer.Model, slot int) (err error) {
		x.vectors, err = m.EmbedIDs(how, slot, texts...)
		return err
	}
	if err := e.enter(x); err != nil {
		return nil, err
	}
	defer x.Close()
	if _, err := x.Next(ctx); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return x.vectors, nil
}

// Stats implements Engine.
func (e *Live) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats
	s.Waiting = e.waiting
	s.Adapters = map[string]int{}
	for k, v := range e.adapters {
		s.Adapters[k] = v
	}
	return s
}
