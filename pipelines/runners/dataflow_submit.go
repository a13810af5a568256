package runners

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/dataflow/dataflowlib"
	df "google.golang.org/api/dataflow/v1b3"
)

// submit stages the program and the graph below at, submits the job, and waits for its end. A job of the same name that is running is the
// one that a driver before this one submitted, and is waited for. When ctx ends, the job is cancelled.
func (d *Dataflow) submit(ctx context.Context, model *pipepb.Pipeline, opts *dataflowlib.JobOptions, at string) error {
	result, err := dataflowlib.Execute(ctx, model, opts, at+"/worker", at+"/model", d.api, true)
	if err != nil || d.TemplateLocation != "" {
		return err
	}
	client, err := dataflowlib.NewClient(ctx, d.api)
	if err != nil {
		return err
	}
	jobs, id := client.Projects.Locations.Jobs, result.JobID()
	for {
		job, err := jobs.Get(d.Project, d.Region, id).Context(ctx).Do()
		if err == nil {
			switch job.CurrentState {
			case "JOB_STATE_DONE":
				return nil
			case "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_DRAINED", "JOB_STATE_UPDATED":
				return fmt.Errorf("the job %s ended as %s%s", id, strings.ToLower(strings.TrimPrefix(job.CurrentState, "JOB_STATE_")),
					d.why(ctx, client, id))
			}
		} else if ctx.Err() == nil {
			return fmt.Errorf("the job %s: %w", id, err)
		}
		select {
		case <-ctx.Done():
			end, stop := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
			defer stop()
			stopped := &df.Job{RequestedState: "JOB_STATE_CANCELLED"}
			if _, err := jobs.Update(d.Project, d.Region, id, stopped).Context(end).Do(); err != nil {
				return fmt.Errorf("cancelling the job %s, which goes on: %w", id, err)
			}
			return ctx.Err()
		case <-time.After(cmp.Or(d.every, 15*time.Second)):
		}
	}
}

// why is what Dataflow says of a job's end, in words after a colon; empty where it says nothing.
func (d *Dataflow) why(ctx context.Context, client *df.Service, id string) string {
	list, err := client.Projects.Locations.Jobs.Messages.List(d.Project, d.Region, id).MinimumImportance("JOB_MESSAGE_ERROR").
		Context(ctx).Do()
	if err != nil || len(list.JobMessages) == 0 {
		return ""
	}
	return ": " + list.JobMessages[len(list.JobMessages)-1].MessageText
}
