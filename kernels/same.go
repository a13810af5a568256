package kernels

import (
	"fmt"
	"os"
	"slices"
)

// Choose switches to the set that name names, or to the processor's best where that is lower, as the environment variable EnvSet does, and
// sets that variable for child processes. It is called before any kernel.
func Choose(name string) error {
	s, err := chooseSet(best, chosen, name)
	if err != nil {
		return err
	}
	if err := os.Setenv(EnvSet, name); err != nil {
		return err
	}
	envErr = nil
	activate(s, name)
	return nil
}

// Same is an error where this process uses another set than the one that is asked for; an empty set is any. A machine that has a set has
// all lower ones, so that both machines have the lower of two.
func Same(set string) error {
	got := Active()
	if set == "" || set == got.String() {
		return nil
	}
	advice := fmt.Sprintf("run every worker with %s set to a set that all have", EnvSet)
	if s := slices.Index(setNames[:], set); s >= 0 {
		both := min(Set(s), got)
		advice = fmt.Sprintf("start the run with --kernels %s, which both have; workers whose environment is not the run's need %s=%[1]s",
			both, EnvSet)
	}
	return fmt.Errorf("the run was started with the kernel set %s and this process has %s, which rounds differently: %s", set, got, advice)
}
