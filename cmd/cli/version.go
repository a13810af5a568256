package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/kernels"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version, the commit, the kernel set and what the program was built with",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			info, _ := debug.ReadBuildInfo()
			return writeVersion(c.OutOrStdout(), info)
		}}
}

// writeVersion prints a line for each thing that a report of a fault needs. info is nil where the program was built without modules.
func writeVersion(w io.Writer, info *debug.BuildInfo) error {
	commit, beam := "unknown (built outside a checkout)", "unknown"
	if info != nil {
		at := map[string]string{}
		for _, s := range info.Settings {
			at[s.Key] = s.Value
		}
		if rev := at["vcs.revision"]; rev != "" {
			commit = rev
			if at["vcs.time"] != "" {
				commit += " of " + at["vcs.time"]
			}
			if at["vcs.modified"] == "true" {
				commit += ", with changes"
			}
		}
		for _, d := range info.Deps {
			if d.Path == "github.com/apache/beam/sdks/v2" {
				beam = d.Version
			}
		}
	}
	_, err := fmt.Fprintf(w, "adaptflow %s\ncommit     %s\nkernels    %s (%s)\nGo         %s %s/%s\nBeam       %s\n",
		version.Version, commit, kernels.Active(), kernels.Why(), runtime.Version(), runtime.GOOS, runtime.GOARCH, beam)
	return err
}
