package jobserver

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/internal/childenv"
)

// member starts a stand-in for a Java process of Flink in a folder: a shell that is known by the mark, with a child, as a task manager has
// workers.
func member(t *testing.T) (e Engine, dir string, pid int, child string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("looks into /proc")
	}
	e, _ = Find("flink")
	dir = t.TempDir()
	note := filepath.Join(t.TempDir(), "child")
	cmd := exec.Command("/bin/sh", "-c", "sleep 600 & echo $! > "+note+"; wait; : "+e.mark(dir)+" ")
	detach(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go cmd.Wait() //nolint:errcheck // it is killed
	for range 100 {
		if raw, err := os.ReadFile(note); err == nil && len(raw) > 1 {
			return e, dir, cmd.Process.Pid, strings.TrimSpace(string(raw))
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the stand-in did not start")
	return e, dir, 0, ""
}

// start starts a stand-in and waits until the kernel tells its command line, which may be a moment after the start.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if line, ok := commandLine(cmd.Process.Pid); ok && strings.Contains(line, cmd.Args[2]) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%v has no command line", cmd.Args)
}

func running(pid string) bool {
	raw, err := os.ReadFile("/proc/" + pid + "/cmdline")
	return err == nil && len(raw) > 0
}

func TestDownEndsWhatALostClusterLeft(t *testing.T) {
	e, dir, pid, child := member(t)
	// The supervisor and the job server are gone; a number that another process has now is left alone.
	st := State{Engine: e.Name, PID: 1 << 22, Processes: []Process{{supervisorName, os.Getpid(), ""}, {"task-manager-1", pid, ""},
		{serverName, 1 << 22, ""}}}
	if err := writeState(dir, &st); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Status(e, dir); !errors.Is(err, ErrDown) {
		t.Errorf("status: %v", err)
	}
	if _, err := Down(e, dir); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(5 * time.Second); running(child); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the worker of a task manager is left")
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestTheCallerSaysHowASupervisorStarts: its folder and the names of variables are handed over, their values are not, and it is known by
// its folder.
func TestTheCallerSaysHowASupervisorStarts(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks into /proc")
	}
	e, _ := Find("flink")
	dir := t.TempDir()
	o := Options{TaskManagers: 2, Port: 7, Memory: "2g", Env: []string{"MY_TOKEN=secret"}, Versions: Versions{"2.61.0", "1.19.3"}}
	if _, err := e.upCluster(context.Background(), dir, o); err == nil || !strings.Contains(err.Error(), "Options.Supervisor") {
		t.Errorf("without a supervisor: %v", err)
	}
	var got Options
	o.Supervisor = func(_ Engine, o Options) (string, []string, error) {
		got = o
		return "/bin/sh", []string{"-c", "echo it ended early; exit 1", "sh", o.Dir, "more"}, nil
	}
	if _, err := e.upCluster(context.Background(), dir, o); err == nil || !strings.Contains(err.Error(), "it ended early") {
		t.Errorf("a supervisor that fails: %v", err)
	}
	if got.Dir != dir || got.Port != 7 || got.TaskManagers != 2 || got.Memory != "2g" || len(got.Env) != 1 || got.Env[0] != "MY_TOKEN" ||
		got.Versions != o.Versions {
		t.Errorf("the supervisor's options are %+v", got)
	}
	for script, want := range map[string]bool{"sleep 600": true, "sleep 600; : " + e.mark(dir) + " ": false} { // a Java process is none
		cmd := exec.Command("/bin/sh", "-c", script+"; :", "sh", dir, "more")
		start(t, cmd)
		if is := e.supervises(cmd.Process.Pid, dir); is != want {
			t.Errorf("%q: a supervisor %v, want %v", script, is, want)
		}
		if e.supervises(cmd.Process.Pid, dir+"x") {
			t.Errorf("%q supervises another folder", script)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

func TestAnEarlierVersionsServerIsNotTaken(t *testing.T) {
	e, dir, pid, _ := member(t)
	defer killGroup(pid)
	if err := writeState(dir, &State{Engine: e.Name, PID: pid, Endpoint: "localhost:1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := Up(context.Background(), e, Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "listens on all interfaces") {
		t.Errorf("%v", err)
	}
}

func TestASupervisorBringsTaskManagersBack(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the stand-ins are shell scripts")
	}
	e, _ := Find("flink")
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	c := &cluster{e: e, dir: dir, say: t.Logf, live: map[string]*exec.Cmd{}, up: true}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended, err := c.start("task-manager-1", []string{"/bin/sh", "-c", "echo up; sleep 600"})
	if err != nil {
		t.Fatal(err)
	}
	c.wait.Add(1)
	go func() {
		defer c.wait.Done()
		c.watch(ctx, "task-manager-1", []string{"/bin/sh", "-c", "echo up; sleep 600"}, true, ended, make(chan string, 1))
	}()
	pid := func() int {
		raw, err := os.ReadFile(filepath.Join(dir, stateFile))
		if err != nil {
			t.Fatal(err)
		}
		var st State
		if err := json.Unmarshal(raw, &st); err != nil {
			t.Fatal(err)
		}
		return st.Processes[0].PID
	}
	first := pid()
	killGroup(first)
	for until := time.Now().Add(20 * time.Second); pid() == first; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it is not brought back")
		}
	}
	second := pid()
	cancel()
	c.end()
	if line, ok := commandLine(second); ok && strings.Contains(line, "sleep 600") {
		t.Errorf("process %d is left: %s", second, line)
	}
	if _, err := c.start("task-manager-2", []string{"/bin/sh", "-c", "sleep 600"}); err == nil {
		t.Error("a process is started after the end")
	}
}

// TestServersGetNoSecrets starts stand-ins for Java and Maven that write their environment.
func TestServersGetNoSecrets(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the stand-ins are shell scripts")
	}
	e, _ := Find("flink")
	notes := t.TempDir()
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	t.Setenv("HF_TOKEN", "secret")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("MY_TOKEN", "asked for")
	t.Setenv("MAVEN_OPTS", "-Xmx128m")
	bin := t.TempDir()
	for name, script := range map[string]string{
		"java": `case " $* " in *" -version "*) echo 'version "17"';;
*) env > ` + notes + `/java; echo "JobService started on 127.0.0.1:1";; esac`,
		"mvn": `env > ` + notes + `/mvn; exit 1`,
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("JAVA_HOME", "")
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	if _, err := Up(context.Background(), e, Options{Env: []string{"MY_TOKEN"}}); err == nil {
		t.Fatal("jars without Maven")
	}
	_, err := Up(context.Background(), e, Options{Env: []string{"NOT_SET_ANYWHERE"}})
	if err == nil || !strings.Contains(err.Error(), "--worker-env: NOT_SET_ANYWHERE") {
		t.Errorf("%v", err)
	}
	// A process of a cluster, as the supervisor starts it.
	c := &cluster{e: e, dir: t.TempDir(), say: t.Logf, env: childenv.Set{More: []string{"MY_TOKEN"}}, live: map[string]*exec.Cmd{}}
	if err := os.Mkdir(filepath.Join(c.dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	ended, err := c.start(serverName, []string{"java"})
	if err != nil {
		t.Fatal(err)
	}
	<-ended
	for name, maven := range map[string]bool{"java": false, "mvn": true} {
		raw, err := os.ReadFile(filepath.Join(notes, name))
		if err != nil {
			t.Fatal(err)
		}
		env := "\n" + string(raw)
		if strings.Contains(env, "secret") || !strings.Contains(env, "\nMY_TOKEN=asked for\n") ||
			!strings.Contains(env, "\nPATH=") || !strings.Contains(env, "\nADAPTFLOW_CACHE=") ||
			strings.Contains(env, "\nMAVEN_OPTS=") != maven {
			t.Errorf("%s has%s", name, env)
		}
	}
	if fi, err := os.Stat(c.log(serverName)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the log: %v, %v", fi.Mode(), err)
	}
}
