package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// volumeFlags are the flags of plan that say how much text there is.
type volumeFlags struct {
	bytes                        string
	files                        int64
	documentBytes, bytesPerToken float64
}

func (f *volumeFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.bytes, "input-bytes", "", "text to prepare, decompressed, as 1TB or 20GiB: prints what that costs")
	c.Flags().Int64Var(&f.files, "input-files", 0, "its files; one a 256 MiB where it is not given")
	c.Flags().Float64Var(&f.documentBytes, "bytes-per-document", 3000, "of the text, on average")
	c.Flags().Float64Var(&f.bytesPerToken, "bytes-per-token", 4, "of the text, on average")
}

// plan prints what preparing the text costs.
func (f *volumeFlags) plan(ctx context.Context, flags *recipeFlags, template string, workers []int) error {
	bytes, err := storage.ParseSize(f.bytes)
	if err != nil {
		return usage("--input-bytes: %v", err)
	}
	if len(workers) > 1 || len(workers) == 1 && workers[0] < 1 {
		return usage("--workers is %v: beside --input-bytes give one number of at least 1", workers)
	}
	if !(f.documentBytes >= 1) || !(f.bytesPerToken > 0) {
		return usage("--bytes-per-document %g, --bytes-per-token %g: give numbers above 0", f.documentBytes, f.bytesPerToken)
	}
	rec, err := flags.resolve(template)
	if err != nil {
		return err
	}
	v := prepare.Volume{Bytes: bytes, Files: f.files, Documents: max(1, int64(float64(bytes)/f.documentBytes)),
		Tokens: max(1, int64(float64(bytes)/f.bytesPerToken))}
	if v.Files == 0 {
		v.Files = (bytes + 256<<20 - 1) / (256 << 20)
	}
	n := 0
	if len(workers) == 1 {
		n = workers[0]
	}
	costs, err := run.MakeCosts(ctx, rec, v, n)
	if err != nil {
		return err
	}
	if flags.json {
		return printJSON(costs)
	}
	costs.Table(os.Stdout)
	return nil
}
