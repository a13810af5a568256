package kernels

import (
	"os"
	"sync/atomic"
)

// Set is a set of kernels: one implementation of every kernel of this package. Results are the same bits on every machine
// that runs the same set, and differ by rounding between sets.
type Set uint8

// The sets, each of which needs more of the processor than the one before.
const (
	Plain      Set = iota // plain Go, on every platform
	AVX2                  // AVX2 with FMA
	AVX512                // AVX-512 F, BW, VL and DQ
	AVX512BF16            // the same with AVX512_BF16, for products with bfloat16 weights
)

// EnvSet is the environment variable that chooses a lower set than the processor's best: plain, avx2, avx512 or avx512_bf16.
const EnvSet = "ADAPTFLOW_KERNELS"

var setNames = [...]string{Plain: "plain", AVX2: "avx2", AVX512: "avx512", AVX512BF16: "avx512_bf16"}

// best is the highest set that the processor and operating system support, active the one in use.
var (
	best   = detect()
	active atomic.Uint32
)

func init() { active.Store(uint32(chooseSet(best, os.Getenv(EnvSet)))) }

// chooseSet is the set named by env where it is lower than best, else best. An unknown name panics, because a silent
// choice would give other bits than the ones asked for.
func chooseSet(best Set, env string) Set {
	if env == "" {
		return best
	}
	for s, name := range setNames {
		if name == env {
			return min(best, Set(s))
		}
	}
	panic("kernels: " + EnvSet + "=" + env + ": want plain, avx2, avx512 or avx512_bf16")
}

// Active is the set in use.
func Active() Set { return Set(active.Load()) }

// Supported says whether s can run here.
func Supported(s Set) bool { return s <= best }

// SetActive switches to s and returns a function that switches back; for tests. It panics when s is not supported.
// No kernel may run while the set is switched.
func SetActive(s Set) (restore func()) {
	if !Supported(s) {
		panic("kernels: set " + s.String() + " is not supported by this processor or build")
	}
	old := active.Swap(uint32(s))
	return func() { active.Store(old) }
}

// String is the set's name: plain, avx2, avx512 or avx512_bf16.
func (s Set) String() string {
	if int(s) < len(setNames) {
		return setNames[s]
	}
	return "unknown"
}
