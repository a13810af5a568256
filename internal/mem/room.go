package mem

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
)

// held are the bytes of all blocks that are not freed.
var held atomic.Int64

// mapped are the bytes of all mapped files that are not freed.
var mapped atomic.Int64

// Held are the bytes of all blocks that are not freed, those of mapped files among them.
func Held() int64 { return held.Load() + mapped.Load() }

// goHeap is the address space that is left to the Go heap, which ends the process where the system gives it none.
const goHeap = 128 << 20

// NoRoom says that the system cannot have room for a block. [Alloc] panics with it, as the Go allocator does, for few of its callers can
// return an error; [Catch] makes it an error where one can.
type NoRoom struct {
	Want, Held int64  // bytes of the block, and of those that there are
	Why        string // what bounds them
	Err        error  // the system's, where it was asked
}

// Error says how much is wanted, and what there is.
func (e *NoRoom) Error() string {
	s := fmt.Sprintf("no memory for %s", mib(e.Want))
	if e.Held > 0 {
		s += fmt.Sprintf(" beside %s in use", mib(e.Held))
	}
	if e.Why != "" {
		s += ": " + e.Why
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the system's error.
func (e *NoRoom) Unwrap() error { return e.Err }

func mib(n int64) string {
	if n < 10<<30 {
		return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// Catch turns the panic of an [Alloc] in the function that defers it into its error, with what to do about it. Other panics go on.
func Catch(err *error, advice string) {
	switch r := recover().(type) {
	case nil:
	case *NoRoom:
		*err = fmt.Errorf("%w; %s", r, advice)
	default:
		panic(r)
	}
}

// Floats is the product of dimensions that a block of float32 values would have, or math.MaxInt64/8 where that is too large for any memory.
func Floats(dims ...int) int {
	const most = math.MaxInt64 / 8
	n := 1
	for _, d := range dims {
		if d < 0 {
			return most
		}
		if d == 0 {
			return 0
		}
		if n > most/d {
			return most
		}
		n *= d
	}
	return n
}

// check panics where a block of n bytes can never fit.
func check(n int) {
	if why := bound(int64(n), held.Load()); why != "" {
		panic(&NoRoom{Want: int64(n), Held: held.Load(), Why: why})
	}
}

// bound says why a block of n bytes cannot fit beside others, or "".
func bound(n, beside int64) string {
	if n < 16<<20 { // asking the system costs more than they do
		return ""
	}
	for _, l := range limits() {
		if n > l.bytes-beside {
			return fmt.Sprintf(l.format, mib(l.bytes))
		}
	}
	if left, ok := addressSpaceLeft(); ok && n > left {
		return fmt.Sprintf("the address space has %s left; raise its limit (ulimit -v)", mib(left))
	}
	return ""
}

// limit is something that bounds the process's memory.
type limit struct {
	bytes  int64
	format string // of a person's words for it
}

// limits are the machine's and the control group's, asked for once: blocks are made in every step.
var limits = sync.OnceValue(findLimits)

// Machine is the memory that this process can have at most, 0 where that is not known.
func Machine() int64 {
	n := int64(0)
	for _, l := range limits() {
		if n == 0 || l.bytes < n {
			n = l.bytes
		}
	}
	return n
}
