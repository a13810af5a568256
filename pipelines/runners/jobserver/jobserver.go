package jobserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/adaptflow/adaptflow/internal/childenv"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// Up brings a server up and waits until it answers. Where one of the same versions is up already, it is returned.
func Up(ctx context.Context, e Engine, o Options) (*State, error) {
	say := o.Say
	if say == nil {
		say = func(string, ...any) {}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	versions, _, err := e.resolve(o.Versions)
	if err != nil {
		return nil, err
	}
	o.Versions = versions
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
			return nil, fmt.Errorf("the %s job server that is up, process %d, is an earlier version's and listens on all interfaces: end "+
				"it with adaptflow %s down",
				e.Title, st.PID, e.Name)
		}
		if runs := e.runs(st); runs != versions {
			return nil, fmt.Errorf("the %s job server that is up, process %d, is %s, not %s: end it with adaptflow %s down, or give "+
				"another --dir", e.Title, st.PID, e.says(runs), e.says(versions), e.Name)
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
	jars, err := e.jars(ctx, env, versions, say)
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
	st := &State{Engine: e.Name, Log: filepath.Join(dir, logFile), Started: time.Now().UTC().Truncate(time.Second),
		Versions: &versions}
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
