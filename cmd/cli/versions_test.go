package cli

import (
	"strconv"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/pipelines/runners/jobserver"
)

// TestVersionsAreFlags: up shows the pinned versions as defaults, and hands those that were given to the supervisor that it starts.
func TestVersionsAreFlags(t *testing.T) {
	for _, e := range jobserver.Engines {
		up := serverUp(e)
		for flag, want := range map[string]string{"beam-version": e.Pinned.Beam, e.Name + "-version": e.Pinned.Engine} {
			if f := up.Flags().Lookup(flag); f == nil || f.DefValue != want {
				t.Errorf("%s up: --%s is %v, want %s by default", e.Name, flag, f, want)
			} else if help := up.Flags().FlagUsages(); !strings.Contains(help, strconv.Quote(want)) {
				t.Errorf("%s up: the help has no default %s: %s", e.Name, want, help)
			}
		}
		if !e.Cluster {
			continue
		}
		o := jobserver.Options{Dir: t.TempDir(), TaskManagers: 2, Memory: "2g", Env: []string{"NAME"},
			Versions: jobserver.Versions{Beam: "2.61.0", Engine: "1.19.3"}}
		_, args, err := supervisor(e, o)
		if err != nil {
			t.Fatal(err)
		}
		c := serverSupervise(e)
		if err := c.ParseFlags(args[2:]); err != nil {
			t.Fatalf("%s supervise: %v", e.Name, err)
		}
		for flag, want := range map[string]string{"beam-version": "2.61.0", e.Name + "-version": "1.19.3", "dir": o.Dir, "memory": "2g"} {
			if got := c.Flag(flag).Value.String(); got != want {
				t.Errorf("%s supervise: --%s %s, want %s", e.Name, flag, got, want)
			}
		}
	}
}
