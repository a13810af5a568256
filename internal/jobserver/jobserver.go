// Package jobserver brings up Beam job servers with an engine inside (Flink, Spark) on this machine, from Maven and without Docker, and
// ends them. What they are made of is pinned: the pom and the SHA-256 of every jar are part of the program.
package jobserver

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/adaptflow/adaptflow/internal/childenv"
	"github.com/adaptflow/adaptflow/internal/storage"
)

//go:embed flink/* spark/*
var pinned embed.FS

// Engine is a kind of job server.
type Engine struct {
	Name  string // flink
	Title string // Flink
	main  string // Java class
	args  []string
	// properties are Java's: what keeps the engine's own sockets on the loopback address.
	properties []string
	// Cluster says that the engine can be brought up as a cluster of processes too.
	Cluster bool
}

// Engines are the job servers that can be brought up.
var Engines = []Engine{
	{Name: "flink", Title: "Flink", main: "org.apache.beam.runners.flink.FlinkJobServerDriver",
		args: []string{"--flink-master=[local]"}, Cluster: true},
	{Name: "spark", Title: "Spark", main: "org.apache.beam.runners.spark.SparkJobServerDriver", args: []string{"--spark-master-url=local[4]"},
		properties: []string{"-Dspark.ui.enabled=false", "-Dspark.driver.host=" + host, "-Dspark.driver.bindAddress=" + host}},
}

// Find returns the engine of a name.
func Find(name string) (Engine, bool) {
	for _, e := range Engines {
		if e.Name == name {
			return e, true
		}
	}
	return Engine{}, false
}

// Options say how a server is brought up.
type Options struct {
	// Dir holds the server's state, log and temporary files; by default a folder of the engine's in the cache.
	Dir string
	// Port of the job service; 0 for a free one.
	Port int
	// Memory is the Java heap's bound in Java's notation, 1g by default.
	Memory string
	// TaskManagers, where not 0, is how many task managers a cluster of processes has; without, the engine runs inside the job server.
	TaskManagers int
	// Env are variables that the server's processes get beside those that every child gets: see [childenv.Set].
	Env []string
	// Say is told what happens, in whole lines; nil for nobody.
	Say func(format string, a ...any)
}

// State is a server that was brought up.
type State struct {
	Engine   string    `json:"engine"`
	PID      int       `json:"pid"`
	Endpoint string    `json:"endpoint"` // of the job service, host:port
	Log      string    `json:"log"`
	Started  time.Time `json:"started"`
	// Processes are those of a cluster, the supervisor among them; nil where the engine runs inside the job server.
	Processes []Process `json:"processes,omitempty"`
}

// ErrDown is wrapped by the error of [Status] and [Down] where no server is up.
var ErrDown = errors.New("no job server is up")

const (
	stateFile = "state.json"
	logFile   = "server.log"
	artifacts = "artifacts"
	readyTime = 2 * time.Minute  // a loaded machine takes longer than the usual five seconds
	endTime   = 15 * time.Second // after which a server that was asked to end is killed
)

// dir is the folder of the engine's server.
func (e Engine) dir(given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	cache, err := storage.CacheDir()
	return filepath.Join(cache, "jobserver", e.Name), err
}

// Status returns the server that is up. dir is as in Options.
func Status(e Engine, dir string) (*State, error) {
	dir, err := e.dir(dir)
	if err != nil {
		return nil, err
	}
	st, err := e.readState(dir)
	if err != nil {
		return nil, err
	}
	if !e.owns(st, dir) {
		return nil, fmt.Errorf("%s: %w: the one with process %d has ended, see %s; bring one up with adaptflow %s up", e.Title, ErrDown, st.PID, st.Log, e.Name)
	}
	return st, nil
}

// owns says whether the process of a state runs and is the server: process numbers are used again.
func (e Engine) owns(st *State, dir string) bool { return e.marked(st.PID, dir) }

// mark is the Java property by which a server's process is known.
func (e Engine) mark(dir string) string { return "-Dadaptflow.jobserver=" + dir }

// Up brings a server up and waits until it answers. Where one is up already, it is returned.
func Up(ctx context.Context, e Engine, o Options) (*State, error) {
	say := o.Say
	if say == nil {
		say = func(string, ...any) {}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	dir, err := e.dir(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := foreign(dir); err != nil {
		return nil, err
	}
	lock, err := storage.LockDir(dir)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	if st, err := Status(e, dir); err == nil {
		if line, ok := commandLine(st.PID); ok && !strings.Contains(line, loopback(dir)) {
			return nil, fmt.Errorf("the %s job server that is up, process %d, is an earlier version's and listens on all interfaces: end it with adaptflow %s down",
				e.Title, st.PID, e.Name)
		}
		return st, nil
	} else if !errors.Is(err, ErrDown) {
		return nil, err
	}
	java, err := findJava(ctx)
	if err != nil {
		return nil, err
	}
	env := childenv.Set{More: o.Env}
	if err := env.Check(); err != nil {
		return nil, fmt.Errorf("--worker-env: %w", err)
	}
	jars, err := e.jars(ctx, env, say)
	if err != nil {
		return nil, err
	}
	if err := e.clear(dir); err != nil {
		return nil, err
	}
	tmp := filepath.Join(dir, "tmp")
	for _, d := range []string{tmp, filepath.Join(dir, artifacts)} { // what Java puts there takes the umask
		if err := storage.MkdirAll(d); err != nil {
			return nil, err
		}
	}
	if err := writeLoopback(dir); err != nil {
		return nil, err
	}
	if o.Memory == "" {
		o.Memory = "1g"
	}
	if o.TaskManagers > 0 {
		if !e.Cluster {
			return nil, fmt.Errorf("%s is brought up inside its job server only, without task managers", e.Title)
		}
		return e.upCluster(ctx, dir, o)
	}
	own := e.args
	if e.Cluster {
		conf := filepath.Join(tmp, "conf")
		if err := storage.WriteFile(filepath.Join(conf, flinkConf), []byte(localConf)); err != nil {
			return nil, err
		}
		own = append(slices.Clone(own), "--flink-conf-dir="+conf)
	}
	args := append(e.java(java, jars, dir, o.Memory), e.driver(o.Port, dir, own...)...)
	st := &State{Engine: e.Name, Log: filepath.Join(dir, logFile), Started: time.Now().UTC().Truncate(time.Second)}
	log, err := openLog(st.Log, os.O_TRUNC)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := env.Command(context.WithoutCancel(ctx), args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = tmp, log, log
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", java, err)
	}
	st.PID = cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if st.Endpoint, err = ready(ctx, st.Log, ended); err == nil {
		err = writeState(dir, st)
	}
	if err != nil {
		_ = cmd.Process.Kill() // it may have ended: the error to tell is the other
		return nil, fmt.Errorf("the %s job server did not come up: %w; its log is %s", e.Title, err, st.Log)
	}
	return st, nil
}

var serving = regexp.MustCompile(`JobService started on (\S+:\d+)`)

// ready waits until the log says where the job service listens, and a connection to it is taken.
func ready(ctx context.Context, log string, ended <-chan error) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		raw, err := part(log, 0)
		if err != nil {
			return "", err
		}
		if m := serving.FindSubmatch(raw); m != nil {
			if c, err := net.DialTimeout("tcp", string(m[1]), time.Second); err == nil {
				c.Close()
				return string(m[1]), nil
			}
		}
		select {
		case err := <-ended:
			return "", fmt.Errorf("it ended (%v): %s", err, lastLines(log, 5))
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// logBytes are the most bytes of a log that are read: a server's log may grow without end.
const logBytes = 1 << 20

// part reads a log from an offset on, counted from its end where it is negative.
func part(path string, from int64) ([]byte, error) {
	f, err := storage.OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if from < 0 {
		st, err := f.Stat()
		if err != nil {
			return nil, err
		}
		from = max(0, st.Size()+from)
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, logBytes))
}

// lastLines is the end of a log without stack frames, on one line.
func lastLines(path string, n int) string {
	raw, err := part(path, -logBytes)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, l := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "at ") {
			lines = append(lines, l)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

// Down ends the server that is up, a cluster's processes with it, and removes its temporary files; the logs stay. Without one the error
// wraps ErrDown.
func Down(e Engine, dir string) (*State, error) {
	at, err := e.dir(dir)
	if err != nil {
		return nil, err
	}
	st, err := e.readState(at)
	if err == nil {
		if _, err = Status(e, at); len(st.Processes) > 0 { // a cluster whose job server was lost is ended too
			err = e.endProcesses(st, at)
		}
	}
	if err != nil {
		if errors.Is(err, ErrDown) {
			if cerr := e.clear(at); cerr != nil {
				return nil, cerr
			}
		}
		return nil, err
	}
	if len(st.Processes) == 0 {
		if err := e.endServer(st, at); err != nil {
			return nil, err
		}
	}
	return st, e.clear(at)
}

// endServer ends a job server that is one process.
func (e Engine) endServer(st *State, dir string) error {
	p, err := os.FindProcess(st.PID)
	if err != nil {
		return err
	}
	if err := terminate(p); err != nil {
		return fmt.Errorf("ending process %d: %w", st.PID, err)
	}
	for until := time.Now().Add(endTime); e.owns(st, dir); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return fmt.Errorf("killing process %d: %w", st.PID, err)
			}
			until = until.Add(endTime)
		}
	}
	return nil
}

// clear removes what a server keeps beside its log.
func (e Engine) clear(dir string) error {
	if err := foreign(dir); err != nil {
		return err
	}
	for _, name := range []string{"tmp", artifacts} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	err := os.Remove(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
