package cli

import (
	"context"
	"os"
	"strings"

	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/templates"
)

// templateVariable names the template of an image that Dataflow's launcher of flex templates starts.
const templateVariable = "ADAPTFLOW_TEMPLATE"

// parseLaunch reads the launcher's arguments.
func parseLaunch(name string, args []string) (*runners.Launch, error) {
	t, err := templates.Get(name)
	if err != nil {
		return nil, usageError{err}
	}
	ps, err := t.Parameters()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range ps {
		names = append(names, p.Name)
	}
	l, err := runners.ParseLaunch(name, names, args)
	if err != nil {
		return nil, usageError{err}
	}
	return l, nil
}

// launch leaves the job that drives the run of a flex template.
func launch(ctx context.Context, args []string) error {
	l, err := parseLaunch(os.Getenv(templateVariable), args)
	if err != nil {
		return err
	}
	if len(l.Ignored) > 0 {
		say("warning: a run does not have the options %s", strings.Join(l.Ignored, ", "))
	}
	return l.Stage(ctx)
}
