package run

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// Costs are what preparing so much text costs at most, job by job: see prepare.Cost.
type Costs struct {
	Volume  prepare.Volume `json:"volume"`
	Workers int            `json:"workers,omitempty"`
	Jobs    []prepare.Job  `json:"jobs"`
	Total   prepare.Job    `json:"total"`
	Gets    int64          `json:"get_requests"`
	Dollars float64        `json:"s3_request_dollars"`
}

// MakeCosts computes what preparing the text to train on costs by a recipe. No input need be there, and nothing is run.
func MakeCosts(ctx context.Context, rec *recipe.Recipe, v prepare.Volume, workers int) (*Costs, error) {
	r := &Run{Recipe: rec}
	cfg := r.Reading("train")
	cfg.Mix, cfg.Prepare, cfg.Shares = rec.Data.Mix, rec.Prepare, rec.Data.Shares
	if len(rec.Data.Sources) > 0 {
		var err error
		if cfg.Sources, err = rec.Data.Named(); err != nil {
			return nil, err
		}
	}
	jobs, err := prepare.Plan(ctx, cfg, v)
	if err != nil {
		return nil, err
	}
	c := &Costs{Volume: v, Workers: workers, Jobs: jobs, Total: prepare.Job{Cost: prepare.Cost{Job: "all"}}}
	for _, j := range jobs {
		t := &c.Total
		t.Opens, t.Puts, t.Read, t.Written, t.Graph = t.Opens+j.Opens, t.Puts+j.Puts, t.Read+j.Read, t.Written+j.Written, t.Graph+j.Graph
	}
	c.Gets, c.Dollars = c.Total.Gets(), c.Total.Dollars()
	return c, nil
}

// Table writes the costs for a person to read.
func (c *Costs) Table(w io.Writer) {
	v := c.Volume
	fmt.Fprintf(w, "preparing %s in %d files, %d documents, %d tokens: at most\n\n", storage.Size(v.Bytes), v.Files, v.Documents, v.Tokens)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "job\topens\tGET\tPUT\tread\twritten\tgraph\tS3 requests\t")
	for _, j := range append(c.Jobs[:len(c.Jobs):len(c.Jobs)], c.Total) {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\t%s\t%s\t%.2f $\t\n", j.Job, j.Opens, j.Gets(), j.Puts, storage.Size(j.Read),
			storage.Size(j.Written), storage.Size(int64(j.Graph)), j.Dollars())
	}
	t.Flush()
	fmt.Fprintln(w)
	if n := int64(c.Workers); n > 0 {
		fmt.Fprintf(w, "each of %d workers: %d requests, %s read, %s written\n", n, (c.Gets+c.Total.Puts)/n, storage.Size(c.Total.Read/n),
			storage.Size(c.Total.Written/n))
	}
	fmt.Fprintf(w, "%d jobs, whose number and graphs, like what the driver reads, do not grow with the text; S3's prices are those of its "+
		"standard class in us-east-1\n", len(c.Jobs))
}
