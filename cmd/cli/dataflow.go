package cli

import (
	"errors"
	"os"

	"github.com/spf13/cobra"
)

// addDataflow adds the flags of --runner dataflow.
func (f *recipeFlags) addDataflow(c *cobra.Command) {
	d := &f.dataflow
	for _, s := range []struct {
		to         *string
		name, help string
	}{
		{&d.Project, "project", "Google Cloud project"},
		{&d.Region, "region", "region, such as europe-west4"},
		{&d.StagingLocation, "staging-location", "gs:// folder of the job's graph and program"},
		{&d.TempLocation, "temp-location", "gs:// folder of temporary files (default tmp in the staging location)"},
		{&d.Image, "image", "container image of the workers (deploy/Dockerfile)"},
		{&d.MachineType, "machine-type", "Compute Engine machine type of the workers"},
		{&d.ServiceAccount, "service-account", "e-mail address of the workers' service account"},
		{&d.Network, "network", "Compute Engine network"},
		{&d.Subnetwork, "subnetwork", "Compute Engine subnetwork"},
	} {
		c.Flags().StringVar(s.to, s.name, "", "Dataflow: "+s.help)
	}
	c.Flags().Int64Var(&d.NumWorkers, "num-workers", 0, "Dataflow: workers to begin with")
	c.Flags().Int64Var(&d.MaxNumWorkers, "max-num-workers", 0, "Dataflow: most workers")
	c.Flags().Int64Var(&d.DiskSizeGB, "disk-size-gb", 0, "Dataflow: disk of a worker in GB")
	c.Flags().BoolVar(&d.NoPublicIPs, "no-public-ips", false, "Dataflow: workers have no public address")
	if c.Name() == "run" {
		c.Flags().BoolVar(&f.dryRun, "dry-run", false, "Dataflow: print the graphs and jobs as JSON on stdout, and contact nothing: "+
			"globs on object stores are taken as they are, and the model must be on this machine")
	}
}

// checkDataflow refuses what cannot work before anything is opened.
func (f *recipeFlags) checkDataflow() error {
	switch {
	case f.dryRun && f.runner.Name != "dataflow":
		return errors.New("--dry-run goes with --runner dataflow")
	case f.runner.Name == "dataflow" && f.dryRun:
		f.dataflow.DryRun = os.Stdout
	}
	return nil
}
