package kernels

import (
	"fmt"
	"os"
	"strings"
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
	AMX                   // the same with tiles in place of AVX512_BF16's products: AMX-TILE, AMX-BF16 and AMX-INT8
)

// EnvSet is the environment variable that chooses another set than the processor's own: plain, avx2, avx512, avx512_bf16 or amx, or its
// best where that is lower. With amx_emulated a processor that has AVX-512 and no tiles gives the bits of amx, slowly.
const EnvSet = "ADAPTFLOW_KERNELS"

var setNames = [...]string{Plain: "plain", AVX2: "avx2", AVX512: "avx512", AVX512BF16: "avx512_bf16", AMX: "amx"}

const emulatedName = "amx_emulated"

// best is the highest set that the processor and operating system support, chosen the one that [setsOf] says, active the one in use.
var (
	best, chosen, chosenWhy = setsOf(detect())
	active                  atomic.Uint32
)

// envErr says that EnvSet names no set; active is then unset.
var envErr error

const unset = ^uint32(0)

func init() {
	s, err := chooseSet(best, chosen, os.Getenv(EnvSet))
	if envErr = err; err != nil {
		active.Store(unset)
		return
	}
	activate(s, os.Getenv(EnvSet))
}

// activate puts the set in use that chooseSet gave for name.
func activate(s Set, name string) {
	if s == AMX && name == emulatedName {
		active.Store(uint32(s) | emulated)
		return
	}
	active.Store(uint32(s))
}

// chooseSet is the set named by env where it is lower than best, else best; without env it is chosen. An unknown name is an error, because
// a silent choice would give other bits than the ones asked for.
func chooseSet(best, chosen Set, env string) (Set, error) {
	if env == "" {
		return chosen, nil
	}
	if env == emulatedName {
		if best < AVX512 {
			return best, nil
		}
		return AMX, nil
	}
	for s, name := range setNames {
		if name == env {
			return min(best, Set(s)), nil
		}
	}
	last := len(setNames) - 1
	return 0, fmt.Errorf("%s=%q names no kernel set: choose %s or %s, or unset it for the processor's best", EnvSet, env,
		strings.Join(setNames[:last], ", "), setNames[last])
}

// CheckEnv is an error when the environment variable EnvSet names no set. A program calls it at its start; without, the first kernel
// panics.
func CheckEnv() error { return envErr }

// Active is the set in use.
func Active() Set {
	s := active.Load()
	if s == unset {
		panic(envErr)
	}
	return Set(s)
}

// Why says in a few words why the active set is in use.
func Why() string {
	if name := os.Getenv(EnvSet); name != "" {
		if active.Load()&emulated != 0 {
			return EnvSet + "=" + name + ": products on tiles are emulated, slowly"
		}
		if s := Active().String(); s != name {
			return fmt.Sprintf("%s=%s, and the processor goes no higher", EnvSet, name)
		}
		return EnvSet + "=" + name
	}
	return chosenWhy
}

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

// String is the set's name: plain, avx2, avx512, avx512_bf16 or amx.
func (s Set) String() string {
	if int(s) < len(setNames) {
		return setNames[s]
	}
	return "unknown"
}
