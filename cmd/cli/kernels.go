package cli

import (
	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/kernels"
)

// addKernels adds the flag of all commands that chooses the kernel set, for this process and those that it starts.
func addKernels(root *cobra.Command) {
	name := root.PersistentFlags().String("kernels", "", "kernel set: plain, avx2, avx512, avx512_bf16 or amx, or the processor's best "+
		"where that is lower; for machines that differ, one that all have")
	before := root.PersistentPreRunE
	root.PersistentPreRunE = func(c *cobra.Command, args []string) error {
		if *name != "" {
			if err := kernels.Choose(*name); err != nil {
				return usageError{err}
			}
		}
		return before(c, args)
	}
}
