package cli

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/pipelines/bench"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/train"
)

// scalingOutcome is what bench scaling prints: constants, or a comparison.
type scalingOutcome struct {
	*train.Constants
	*bench.ScalingResult
}

// workers makes the recipe of a template for numbers of workers, in place of its replicas.
func (f *recipeFlags) workers(name string, workers []int) (*recipe.Recipe, error) {
	if len(workers) == 0 || slices.Min(workers) < 1 {
		return nil, usage("--workers is %v: give numbers of at least 1", workers)
	}
	own := *f
	own.set = append(slices.Clone(f.set), fmt.Sprintf("train.replicas=%d", max(2, slices.Max(workers))))
	return own.resolve(name)
}

func benchScaling() *cobra.Command {
	var f recipeFlags
	var workers []int
	var calibrate bool
	var constants, machine string
	var threads int
	c := measured("scaling", "Rounds of several worker processes, beside what adaptflow plan --workers predicts",
		func(ctx context.Context) (*scalingOutcome, error) {
			rec, err := f.workers("domain-adaptation", workers)
			if err != nil {
				return nil, err
			}
			if calibrate {
				c, err := bench.Calibrate(ctx, program, rec, threads)
				if err != nil {
					return nil, err
				}
				if machine != "" {
					c.Machine = machine
				}
				if constants != "" {
					err = storage.WriteJSON(constants, c)
				}
				return &scalingOutcome{Constants: c}, err
			}
			c, err := run.ReadConstants(constants)
			if err != nil {
				return nil, usageError{err}
			}
			r, err := bench.Scaling(ctx, bench.ScalingConfig{Program: program, Recipe: rec, Workers: workers, Constants: c}, nil)
			return &scalingOutcome{ScalingResult: r}, err
		}, func(o *scalingOutcome) {
			if o.ScalingResult != nil {
				o.Table(os.Stdout)
				return
			}
			c := o.Constants
			fmt.Printf("%s, %d threads a worker: %.1f GFLOP/s; %.0f MB/s read, %.0f MB/s written, %.0f MB/s checked, %.0f MB/s added; "+
				"%.1f ms for the disk; %.2f ms a round and %.2f ms a replica of the runner; a process starts in %.2f s and takes %d MiB\n",
				c.Machine, c.Threads, c.FLOPS/1e9, c.Read/1e6, c.Write/1e6, c.Check/1e6, c.Combine/1e6, 1e3*c.Sync, 1e3*c.Round,
				1e3*c.Replica, c.Start, c.Memory>>20)
		})
	c.Long = "Scaling runs the rounds of the template domain-adaptation, with the settings given, on random tokens: each worker a " +
		"process of its own, and one more that combines.\n" +
		"It compares CPU time, bytes and peak memory of each with the scaling model. --calibrate measures the model's constants instead."
	c.Flags().StringVar(&f.file, "recipe", "", "recipe file (YAML), over the template")
	c.Flags().StringArrayVar(&f.set, "set", nil, "setting key=value, over the recipe; repeat for more")
	c.Flags().IntSliceVar(&workers, "workers", []int{1, 2, 4, 8}, "numbers of workers")
	c.Flags().BoolVar(&calibrate, "calibrate", false, "measure the constants of this machine and write them to --constants")
	c.Flags().StringVar(&constants, "constants", "", "JSON file of constants; default: the built-in ones")
	c.Flags().StringVar(&machine, "machine", "", "name of the machine, recorded in the constants")
	c.Flags().IntVar(&threads, "threads", 1, "threads of a worker, when the constants are measured")
	return c
}
