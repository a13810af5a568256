package train

import (
	"encoding/json"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/kernels"
)

// tileSets are the processor's tiles, where it has them, and their emulation, where it has the vectors that go with them.
func tileSets() map[string]func() (restore func()) {
	sets := map[string]func() func(){}
	if kernels.Supported(kernels.AVX512) {
		sets["emulated"] = func() func() { return kernels.EmulateTiles(kernels.AMX) }
	}
	if kernels.Supported(kernels.AMX) {
		sets["processor"] = func() func() { return kernels.SetActive(kernels.AMX) }
	}
	return sets
}

// TestPinnedTiles: training in bfloat16 with the set AMX, over weights of each kind of storage, has the bytes that its emulation gave once:
// with one thread and
// two, on the processor's tiles, and from a checkpoint on.
func TestPinnedTiles(t *testing.T) {
	for name, use := range tileSets() {
		for _, dtype := range []string{"bfloat16", "bfloat16+nf4", "bfloat16+int8"} {
			t.Run(name+"/"+dtype, func(t *testing.T) {
				defer use()()
				defer CloseSessions()
				lm := []datasets.Sequence(keyed(0, 9))
				// run trains up to a step and returns what the parameters and the losses are.
				run := func(change func(j *Job), steps ...int) (string, string) {
					j := pinJob(t, datasets.KindLM, lm, keyed(1, 5))
					j.DType, j.Threads = dtype, 1
					change(&j)
					var values string
					var st *State
					from := 0
					for _, step := range steps {
						raw, err := json.Marshal(j)
						if err != nil {
							t.Fatal(err)
						}
						err = Use(string(raw), func(s *Session) error {
							_, err := s.Advance(from, step)
							st, values = s.State(), paramsDigest(s.Params())
							return err
						})
						CloseSessions()
						if err != nil {
							t.Fatal(err)
						}
						from = step
					}
					for i := range st.History {
						st.History[i].Seconds = 0
					}
					return values, digest(st.History)
				}
				values, losses := run(func(*Job) {}, 5)
				pinned(t, "tiles "+dtype, values, losses)
				if v, l := run(func(j *Job) { j.Threads, j.Args.SaveSteps = 2, 2 }, 2, 5); v != values || l != losses {
					t.Error("two threads, of a run that went on from its second step: other bytes")
				}
			})
		}
	}
}

// TestAutoOnTiles: where there are tiles, "auto" is bfloat16, for a dense base and beside codes.
func TestAutoOnTiles(t *testing.T) {
	for _, c := range []struct {
		set  func() func()
		want string
	}{
		{func() func() { return kernels.EmulateTiles(kernels.Plain) }, "bfloat16"},
		{func() func() { return kernels.SetActive(kernels.Plain) }, "float32"},
	} {
		restore := c.set()
		for in, want := range map[string]string{"auto": c.want, "auto+nf4": c.want + "+nf4", "float32": "float32"} {
			if got := ResolveDType(in); got != want {
				t.Errorf("%s is %s, want %s", in, got, want)
			}
		}
		restore()
	}
}
