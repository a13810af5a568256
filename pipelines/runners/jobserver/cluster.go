package jobserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/adaptflow/adaptflow/internal/childenv"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// A cluster is real: a job manager, task managers and a job server, each a process of its own from the job server's class path. A
// supervisor, which is a process that runs [Supervise], starts them, brings task managers back that end, and ends all. A task manager leads
// a process group, so that the workers it starts end with it.

const (
	supervisorName = "supervisor"
	serverName     = "job-server"
	managerName    = "job-manager"
	// rest is how long a task manager stays away that ended at once, doubled each time up to maxRest.
	rest, maxRest, soon = 500 * time.Millisecond, 10 * time.Second, 5 * time.Second
)

// upCluster starts the supervisor as a process of its own and waits for the state that it writes.
func (e Engine) upCluster(ctx context.Context, dir string, o Options) (*State, error) {
	if o.Supervisor == nil {
		return nil, errors.New("a cluster has a supervisor, and nothing says how it is started: Options.Supervisor")
	}
	log, err := openLog(filepath.Join(dir, supervisorName+".log"), os.O_TRUNC)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	env := childenv.Set{More: o.Env}
	o.Dir, o.Env = dir, env.Names() // it has the values in its environment: a command line is everyone's to read
	program, args, err := o.Supervisor(e, o)
	if err != nil {
		return nil, err
	}
	cmd := env.Command(context.WithoutCancel(ctx), program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		if st, err := Status(e, dir); err == nil {
			return st, nil
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("the %s cluster did not come up (%v): %s", e.Title, err, lastLines(log.Name(), 2))
		case <-ctx.Done():
			_ = terminate(cmd.Process) // it ends what it has started
			select {
			case <-ended:
			case <-time.After(2 * endTime):
				_ = cmd.Process.Kill()
			}
			return nil, fmt.Errorf("the %s cluster did not come up: %w; its logs are in %s", e.Title, ctx.Err(), dir)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// cluster is what a supervisor knows.
type cluster struct {
	e    Engine
	dir  string
	say  func(string, ...any)
	env  childenv.Set // of its processes
	mu   sync.Mutex
	st   State
	up   bool // the state may be written
	over bool // nothing is started any more
	live map[string]*exec.Cmd
	wait sync.WaitGroup
}

// Supervise runs a cluster in this process until ctx ends: [Up] with task managers starts a process that does, by [Options.Supervisor].
func Supervise(ctx context.Context, e Engine, o Options) error {
	versions, _, err := e.resolve(o.Versions)
	if err != nil {
		return err
	}
	dir, err := e.dir(o.Dir)
	if err != nil {
		return err
	}
	program, err := findJava(ctx)
	if err != nil {
		return err
	}
	c := &cluster{e: e, dir: dir, say: o.Say, env: childenv.Set{More: o.Env}, live: map[string]*exec.Cmd{}}
	jars, err := e.jars(ctx, c.env, versions, c.say)
	if err != nil {
		return err
	}
	defer c.end()
	c.st = State{Engine: e.Name, Started: time.Now().UTC().Truncate(time.Second), Log: c.log(serverName),
		Versions: &versions}
	c.st.Processes = []Process{{supervisorName, os.Getpid(), c.log(supervisorName)}}
	rpc, err := freePort()
	if err != nil {
		return err
	}
	web, err := freePort()
	if err != nil {
		return err
	}
	conf := filepath.Join(dir, "tmp", "conf")
	text := clusterConf(rpc, web, versions.Engine, filepath.Join(dir, "tmp"))
	if err := storage.WriteFile(filepath.Join(conf, flinkConf), []byte(text)); err != nil {
		return err
	}
	master := "localhost:" + strconv.Itoa(web)
	memory := o.Memory
	heap := fmt.Sprintf("%dm", taskHeap+frameworkHeap)
	lost := make(chan string, 8)
	run := func(name string, again bool, args []string) error {
		ended, err := c.start(name, args)
		if err != nil {
			return err
		}
		c.wait.Add(1)
		go func() {
			defer c.wait.Done()
			c.watch(ctx, name, args, again, ended, lost)
		}()
		return nil
	}
	if err := run(managerName, false, append(e.java(program, jars, dir, "512m"),
		"org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint", "--configDir", conf)); err != nil {
		return err
	}
	if err := c.answers(ctx, master, lost); err != nil {
		return err
	}
	for i := range o.TaskManagers {
		name := fmt.Sprintf("task-manager-%d", i+1)
		args := append(e.java(program, jars, dir, heap), "-XX:MaxDirectMemorySize=256m",
			"org.apache.flink.runtime.taskexecutor.TaskManagerRunner", "--configDir", conf)
		if err := run(name, true, args); err != nil {
			return err
		}
	}
	if err := run(serverName, false, append(e.java(program, jars, dir, memory),
		e.driver(o.Port, dir, "--flink-master="+master)...)); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		select {
		case name := <-lost:
			ended <- fmt.Errorf("the %s ended: %s", name, lastLines(c.log(name), 3))
		case <-ctx.Done():
		}
	}()
	endpoint, err := ready(ctx, c.log(serverName), ended)
	if err != nil {
		return err
	}
	for c.managers(master) < o.TaskManagers {
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	c.mu.Lock()
	c.st.Endpoint, c.st.Web, c.up = endpoint, "http://"+net.JoinHostPort(host, strconv.Itoa(web)), true
	err = c.save()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	c.say("the cluster is up: job service %s, web interface %s", endpoint, c.st.Web)
	<-ctx.Done()
	return nil
}

func (c *cluster) log(name string) string { return filepath.Join(c.dir, name+".log") }

// answers waits until a port takes connections.
func (c *cluster) answers(ctx context.Context, address string, lost <-chan string) error {
	for {
		if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			return conn.Close()
		}
		select {
		case name := <-lost:
			return fmt.Errorf("the %s ended: %s", name, lastLines(c.log(name), 3))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// managers is how many task managers have registered, by the job manager's REST interface.
func (c *cluster) managers(master string) int {
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get("http://" + master + "/overview")
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	var v struct {
		TaskManagers int `json:"taskmanagers"`
	}
	_ = json.NewDecoder(resp.Body).Decode(&v) // none, where it is not JSON
	return v.TaskManagers
}

// start starts a process, whose log goes on where an earlier one of its name ended.
func (c *cluster) start(name string, args []string) (<-chan error, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	flags := os.O_APPEND
	if c.live[name] == nil {
		flags |= os.O_TRUNC // of an earlier cluster
	}
	log, err := openLog(c.log(name), flags)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := c.env.Command(context.Background(), args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Join(c.dir, "tmp"), log, log
	detach(cmd)
	if c.over {
		return nil, errors.New("the cluster ends")
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", args[0], err)
	}
	c.live[name] = cmd
	if name == serverName {
		c.st.PID = cmd.Process.Pid
	}
	at := -1
	for i, p := range c.st.Processes {
		if p.Name == name {
			at = i
		}
	}
	p := Process{name, cmd.Process.Pid, c.log(name)}
	if at >= 0 {
		c.st.Processes[at] = p
	} else {
		c.st.Processes = append(c.st.Processes, p)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return ended, c.save()
}

// save writes the state, once the cluster is up.
func (c *cluster) save() error {
	if !c.up {
		return nil
	}
	return writeState(c.dir, &c.st)
}

// watch waits for the end of a process, ends what it has started, and starts it again where it is a task manager.
func (c *cluster) watch(ctx context.Context, name string, args []string, again bool, ended <-chan error, lost chan<- string) {
	wait := rest
	for {
		began := time.Now()
		err := <-ended
		c.mu.Lock()
		group := c.live[name].Process.Pid
		c.mu.Unlock()
		killGroup(group) // the workers of a task manager
		if ctx.Err() != nil {
			return
		}
		c.say("%s, process %d, ended: %v", name, group, err)
		if !again {
			select {
			case lost <- name:
			default:
			}
			return
		}
		if wait = min(2*wait, maxRest); time.Since(began) > soon {
			wait = rest
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if ended, err = c.start(name, args); err != nil {
			c.say("%s is not brought back: %v", name, err)
			return
		}
		c.mu.Lock()
		c.say("%s is back as process %d", name, c.live[name].Process.Pid)
		c.mu.Unlock()
	}
}

// end ends every process, the job server first.
func (c *cluster) end() {
	c.mu.Lock()
	c.over = true
	var all []*exec.Cmd
	for _, p := range c.st.Processes {
		if cmd := c.live[p.Name]; cmd != nil {
			all = append(all, cmd)
		}
	}
	c.mu.Unlock()
	for i := len(all) - 1; i >= 0; i-- {
		_ = terminate(all[i].Process) // it may have ended
	}
	done := make(chan struct{})
	go func() { c.wait.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(endTime / 2):
	}
	for _, cmd := range all {
		killGroup(cmd.Process.Pid)
	}
}

// endProcesses ends a cluster's processes: the supervisor, which ends the others, and whatever is left.
func (e Engine) endProcesses(st *State, dir string) error {
	for _, p := range st.Processes {
		if p.Name != supervisorName || !e.supervises(p.PID, dir) {
			continue
		}
		proc, err := os.FindProcess(p.PID)
		if err != nil {
			return err
		}
		if err := terminate(proc); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("ending the supervisor, process %d: %w", p.PID, err)
		}
		for until := time.Now().Add(endTime); e.supervises(p.PID, dir); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(until) {
				_ = proc.Kill()
				until = until.Add(endTime)
			}
		}
	}
	for _, p := range st.Processes {
		if e.marked(p.PID, dir) {
			killGroup(p.PID)
		}
	}
	for until := time.Now().Add(endTime); ; time.Sleep(50 * time.Millisecond) {
		left := 0
		for _, p := range st.Processes {
			if e.marked(p.PID, dir) {
				left = p.PID
			}
		}
		if left == 0 {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("process %d does not end", left)
		}
	}
}

// supervises says whether a process is the supervisor of a folder: its arguments name the folder, and it is none of the engine's.
func (e Engine) supervises(pid int, dir string) bool {
	line, ok := commandLine(pid)
	return ok && strings.Contains(line, " "+dir+" ") && !e.marked(pid, dir)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
