package jinja

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Limits bound one rendering; a zero field has its default. What they count is what the template makes the interpreter do, so that a
// rendering is refused or not by what it is, on every machine alike; only Time is the clock's, and is there for what might be counted
// wrongly.
type Limits struct {
	// Steps are statements and expressions, each element that an operation looks at (of what it compares, prints, sorts, searches, hashes
	// or copies, however deep), and each 16 bytes of text; 10 million, less than a second.
	Steps  int
	Output int           // bytes written; 16 MiB
	Memory int           // bytes of values made, the forgotten ones too; 256 MiB
	Time   time.Duration // a minute
}

func (l Limits) orDefaults() Limits {
	if l.Steps == 0 {
		l.Steps = 10_000_000
	}
	if l.Output == 0 {
		l.Output = 16 << 20
	}
	if l.Memory == 0 {
		l.Memory = 256 << 20
	}
	if l.Time == 0 {
		l.Time = time.Minute
	}
	return l
}

// Budget bounds what all renderings of a template in a run take together, in steps: five times what one may take (50 million), and for each
// rendering 20,000 and 100 for each byte that it is given. Published templates take a few steps a byte, so that no run is too long for
// them, whatever its number of rows; a template that takes at every row what Limits allow ends the run after five. It may be used from
// several goroutines at once.
type Budget struct {
	mu    sync.Mutex
	left  int64
	taken int64
	rows  int64
	bytes int64
	begun bool
}

const (
	budgetStart = 5
	budgetRow   = 20_000
	budgetByte  = 100
)

// NewBudget returns a budget of which nothing has been taken. start is what is there before the first rendering; 0 for five times what that
// may take.
func NewBudget(start int) *Budget { return &Budget{left: int64(start), begun: start != 0} }

// open says whether something is left for a rendering that may take so many steps.
func (b *Budget) open(steps int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.begun {
		b.left, b.begun = budgetStart*int64(min(steps, math.MaxInt32)), true
	}
	if b.left > 0 {
		return nil
	}
	return &Error{Kind: "LimitError", Run: true, Message: fmt.Sprintf("the template has taken %d steps for %d conversations of %d bytes, "+
		"far more than any that only writes them: "+
		"choose another", b.taken, b.rows, b.bytes)}
}

// close accounts for a rendering that was given so many bytes.
func (b *Budget) close(steps, input int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken, b.rows, b.bytes = b.taken+int64(steps), b.rows+1, b.bytes+int64(input)
	b.left += budgetRow + budgetByte*int64(input) - int64(steps)
}

// run is one rendering.
type run struct {
	limits  Limits
	now     func() time.Time
	steps   int
	checked int // steps when the clock was read
	made    int // bytes of values made so far
	depth   int // of expressions and statements being evaluated
	calls   int // depth of macro calls
	started time.Time
	top     strings.Builder
	chars   int // code points in top
	out     *strings.Builder
	spans   []Span
	wrote   bool

	filters map[string]builtin  // what templates name while they run
	tests   map[string]testFunc // likewise
}

// unlimited is a run for values of our own.
func unlimited() *run {
	return &run{limits: Limits{math.MaxInt, math.MaxInt, math.MaxInt, math.MaxInt64}, started: time.Now()}
}

func limit(format string, a ...any) error {
	return &Error{Kind: "LimitError", Message: fmt.Sprintf(format, a...)}
}

// step counts one operation.
func (r *run) step() error { return r.touch(1) }

// touch counts n elements that are about to be looked at.
func (r *run) touch(n int) error {
	if n < 0 || n > r.limits.Steps-r.steps {
		r.steps = r.limits.Steps
		return limit("the template takes more than %d steps", r.limits.Steps)
	}
	if r.steps += n; r.steps-r.checked > 4096 {
		r.checked = r.steps
		if time.Since(r.started) > r.limits.Time {
			return &Error{Kind: "LimitError", Run: true, Message: fmt.Sprintf("the template takes longer than %v", r.limits.Time)}
		}
	}
	return nil
}

// read counts n bytes of text that are about to be looked at.
func (r *run) read(n int) error { return r.touch(n >> 4) }

// charge counts n bytes that are about to be made.
func (r *run) charge(n int) error {
	if n < 0 || n > r.limits.Memory-r.made {
		return limit("the template makes more than %d bytes of values", r.limits.Memory)
	}
	r.made += n
	return r.touch(n >> 5)
}

// times charges for n things of size bytes.
func (r *run) times(n, size int) error {
	if n < 0 || size < 0 || size > 0 && n > r.limits.Memory/size {
		return r.charge(-1)
	}
	return r.charge(n * size)
}

// What the values of Go's take.
const (
	listSize = 64 // without its elements
	itemSize = 32 // an element with its value, if that is a number or the head of a text
	pairSize = 160
	callSize = 160 // a function
)

func (r *run) newString(s string) (any, error) { return s, r.charge(len(s)) }

// room charges for a list of n elements that is about to be made.
func (r *run) room(n int) error {
	if err := r.times(n, itemSize); err != nil {
		return err
	}
	return r.charge(listSize)
}

func (r *run) list(l []any) (any, error) { return &List{Items: l}, r.room(len(l)) }

// maxFrames bounds how deep expressions and statements stand in each other while a template is rendered, macros and recursive loops and
// all.
const maxFrames = 10_000

func (r *run) enter() error {
	if r.depth++; r.depth > maxFrames {
		return limit("the template nests deeper than %d while it is rendered", maxFrames)
	}
	return r.touch(1)
}

// eval evaluates an expression.
func (r *run) eval(e expr, sc *scope) (any, error) {
	if c, ok := e.(*constant); ok {
		return c.v, r.touch(1)
	}
	err := r.enter()
	var v any
	if err == nil {
		v, err = e.eval(r, sc)
	}
	r.depth--
	return v, err
}

// all executes statements.
func (r *run) all(body []stmt, sc *scope) error {
	for _, s := range body {
		err := r.enter()
		if err == nil {
			err = s.exec(r, sc)
		}
		r.depth--
		if err != nil {
			return at(s.where(), err)
		}
	}
	return nil
}

func (r *run) write(s string) error {
	if s == "" {
		if r.out == &r.top {
			r.wrote = true
		}
		return nil
	}
	if len(s) > r.limits.Output-r.out.Len() {
		return limit("the template writes more than %d bytes", r.limits.Output)
	}
	if err := r.charge(len(s)); err != nil {
		return err
	}
	if r.out == &r.top {
		r.chars += utf8.RuneCountInString(s)
		r.wrote = true
	}
	r.out.WriteString(s)
	return nil
}

// capture renders a body into a string.
func (r *run) capture(body []stmt, sc *scope) (string, error) {
	old := r.out
	var sb strings.Builder
	r.out = &sb
	err := r.all(body, sc)
	r.out = old
	return sb.String(), err
}

// writer makes a text whose bytes are charged for before they are there. After an error it takes nothing more.
type writer struct {
	r    *run
	sb   strings.Builder
	err  error
	open []*namespace // being printed
}

func (w *writer) add(s string) {
	if w.err == nil && len(s) > w.r.limits.Output-w.sb.Len() {
		w.err = limit("the template makes a text of more than %d bytes", w.r.limits.Output)
	}
	if w.err == nil {
		w.err = w.r.charge(len(s))
	}
	if w.err == nil {
		w.err = w.r.step()
	}
	if w.err == nil {
		w.sb.WriteString(s)
	}
}

func (w *writer) text() (string, error) { return w.sb.String(), w.err }
