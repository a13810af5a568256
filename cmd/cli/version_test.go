package cli

import (
	"runtime/debug"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/kernels"
)

func TestVersion(t *testing.T) {
	info := &debug.BuildInfo{
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc123"}, {Key: "vcs.time", Value: "2026-11-30T20:00:00Z"},
			{Key: "vcs.modified", Value: "true"}},
		Deps: []*debug.Module{{Path: "github.com/apache/beam/sdks/v2", Version: "v2.99.0"}},
	}
	for _, c := range []struct {
		info *debug.BuildInfo
		want []string
	}{
		{info, []string{"abc123 of 2026-11-30T20:00:00Z, with changes", "v2.99.0", kernels.Active().String(), "go1."}},
		{&debug.BuildInfo{}, []string{"commit     unknown"}},
		{nil, []string{"commit     unknown"}},
	} {
		var out strings.Builder
		if err := writeVersion(&out, c.info); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is missing in\n%s", want, &out)
			}
		}
	}
}
