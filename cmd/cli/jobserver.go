package cli

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/pipelines/runners/jobserver"
)

// serverCommands are the commands of the job servers: adaptflow flink up, down, status.
func serverCommands() (out []*cobra.Command) {
	for _, e := range jobserver.Engines {
		c := &cobra.Command{Use: e.Name, Short: "Start and stop a local " + e.Title + " job server",
			Long: fmt.Sprintf("%[2]s runs on this machine inside Beam's job server, from Maven and without Docker: Java and, the first "+
				"time, Maven are needed.\n"+
				"adaptflow %[1]s up, then adaptflow run TEMPLATE --runner %[1]s, then adaptflow %[1]s down.", e.Name, e.Title)}
		c.AddCommand(serverUp(e), serverDown(e), serverStatus(e))
		if e.Cluster {
			c.AddCommand(serverSupervise(e))
		}
		out = append(out, c)
	}
	return out
}

// serverFlags adds the flags that all three commands have.
func serverFlags(c *cobra.Command, dir *string, json *bool) {
	c.Flags().StringVar(dir, "dir", "", "folder of the server's state, log and temporary files (default in the cache folder; with "+
		"another, runs need --endpoint)")
	c.Flags().BoolVar(json, "json", false, "print the server as JSON on stdout")
}

func serverUp(e jobserver.Engine) *cobra.Command {
	o := jobserver.Options{Say: say, Supervisor: supervisor}
	var json bool
	c := &cobra.Command{Use: "up", Short: "Start the " + e.Title + " job server and print its endpoint", Args: cobra.NoArgs,
		Long: fmt.Sprintf("Up fetches the job server's jars with Maven where the cache does not have them, checks each against its pinned "+
			"SHA-256, starts the server, and\n"+
			"waits until it answers. If one is up already, up prints its endpoint.\n\n"+
			"--beam-version and --%s bring up other versions, of %s %s, where Maven's repositories have them. Maven compares\n"+
			"their jars with the repository's checksums, and later starts with the SHA-256s that the first fetch wrote beside them.",
			e.Flag(), e.Title, e.Serves()),
		RunE: func(c *cobra.Command, _ []string) error {
			st, err := jobserver.Up(c.Context(), e, o)
			if err != nil {
				return err
			}
			return printServer(st, json)
		}}
	serverFlags(c, &o.Dir, &json)
	c.Flags().IntVar(&o.Port, "port", 0, "port of the job service (default a free one)")
	c.Flags().StringVar(&o.Memory, "memory", "1g", "bound of the job server's Java heap, as in java -Xmx")
	addVersions(c, e, &o.Versions)
	addWorkerEnv(c, &o.Env)
	if e.Cluster {
		c.Long += fmt.Sprintf("\n\nWith --task-managers N %s is a cluster: a job manager, N task managers and the job server are "+
			"processes of their own, under a supervisor\n"+
			"that brings task managers back. Run on it with --environment process, and the task managers start the workers.", e.Title)
		c.Flags().IntVar(&o.TaskManagers, "task-managers", 0,
			"task managers of a cluster (default none: the engine runs inside the job server)")
	}
	return c
}

// addVersions adds the flags of the versions that a job server is made of.
func addVersions(c *cobra.Command, e jobserver.Engine, v *jobserver.Versions) {
	c.Flags().StringVar(&v.Beam, "beam-version", e.Pinned.Beam, "release of Beam whose job server starts")
	c.Flags().StringVar(&v.Engine, e.Flag(), e.Pinned.Engine, "version of "+e.Title+", of "+e.Serves())
}

// addWorkerEnv adds the flag of the variables that workers and job servers get.
func addWorkerEnv(c *cobra.Command, env *[]string) {
	c.Flags().StringArrayVar(env, "worker-env", nil,
		"variable that the server's processes and workers get, too, as NAME or NAME=VALUE; repeat for more "+
			"(tokens and keys are not passed on unasked)")
}

// supervisor is the command line of a process that supervises a cluster: see serverSupervise.
func supervisor(e jobserver.Engine, o jobserver.Options) (program string, args []string, err error) {
	args = []string{e.Name, "supervise", "--dir", o.Dir, "--task-managers", strconv.Itoa(o.TaskManagers), "--port", strconv.Itoa(o.Port),
		"--memory", o.Memory, "--beam-version", o.Versions.Beam, "--" + e.Flag(), o.Versions.Engine}
	for _, name := range o.Env {
		args = append(args, "--worker-env", name)
	}
	program, err = os.Executable()
	return program, args, err
}

// serverSupervise is the process that up --task-managers leaves behind.
func serverSupervise(e jobserver.Engine) *cobra.Command {
	o := jobserver.Options{Say: say}
	c := &cobra.Command{Use: "supervise", Hidden: true, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		err := jobserver.Supervise(c.Context(), e, o)
		if c.Context().Err() != nil {
			return nil // it was asked to end
		}
		return err
	}}
	c.Flags().StringVar(&o.Dir, "dir", "", "")
	c.Flags().IntVar(&o.Port, "port", 0, "")
	c.Flags().StringVar(&o.Memory, "memory", "1g", "")
	c.Flags().IntVar(&o.TaskManagers, "task-managers", 1, "")
	addVersions(c, e, &o.Versions)
	addWorkerEnv(c, &o.Env)
	return c
}

func printServer(st *jobserver.State, json bool) error {
	if json {
		return printJSON(st)
	}
	say("the %s job server is up: process %d, log %s", st.Engine, st.PID, st.Log)
	if e, ok := jobserver.Find(st.Engine); ok && st.Versions != nil {
		say("  Beam %s with %s %s", st.Versions.Beam, e.Title, st.Versions.Engine)
	}
	if st.Web != "" {
		say("  its web interface, with jobs, steps and what they count: %s", st.Web)
	}
	for _, p := range st.Processes {
		say("  %-16s process %d, log %s", p.Name, p.PID, p.Log)
	}
	_, err := fmt.Println(st.Endpoint)
	return err
}

func serverDown(e jobserver.Engine) *cobra.Command {
	var dir string
	var json bool
	c := &cobra.Command{Use: "down", Short: "Stop the " + e.Title + " job server that up started", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			st, err := jobserver.Down(e, dir)
			if errors.Is(err, jobserver.ErrDown) { // the state that was asked for
				say("%v", err)
				return nil
			}
			if err != nil {
				return err
			}
			if json {
				return printJSON(st)
			}
			say("the %s job server, process %d, has ended", st.Engine, st.PID)
			return nil
		}}
	serverFlags(c, &dir, &json)
	return c
}

func serverStatus(e jobserver.Engine) *cobra.Command {
	var dir string
	var json bool
	c := &cobra.Command{Use: "status", Short: "Show whether the " + e.Title + " job server is up, and print its endpoint",
		Args: cobra.NoArgs,
		Long: "Status prints the endpoint and exits with 0 where the server is up, and with 1 where it is not.",
		RunE: func(*cobra.Command, []string) error {
			st, err := jobserver.Status(e, dir)
			if err != nil {
				return err
			}
			return printServer(st, json)
		}}
	serverFlags(c, &dir, &json)
	return c
}
