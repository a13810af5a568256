package jobserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

func TestWhatIsPinned(t *testing.T) {
	for _, e := range Engines {
		sums, err := e.sums()
		if err != nil {
			t.Fatal(err)
		}
		pom, err := pinned.ReadFile(e.Name + "/pom.xml")
		if err != nil {
			t.Fatal(err)
		}
		deps := regexp.MustCompile(`<artifactId>([^<]+)</artifactId><version>([^<]+)</version>`).FindAllStringSubmatch(string(pom), -1)
		if len(deps) < 3 {
			t.Errorf("%s: %d dependencies with a version", e.Name, len(deps))
		}
		for _, d := range deps {
			if jar := d[1] + "-" + d[2] + ".jar"; sums[jar] == "" {
				t.Errorf("%s: the pom wants %s, which has no checksum", e.Name, jar)
			}
		}
	}
}

func TestVerifySeesEveryDifference(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// sha256 of "a" and "b"
	sums := map[string]string{"a.jar": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
		"b.jar": "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"}
	put("a.jar", "a")
	if err := verify(dir, sums); err == nil || !strings.Contains(err.Error(), "lacks b.jar") {
		t.Errorf("a missing jar: %v", err)
	}
	put("b.jar", "b")
	if err := verify(dir, sums); err != nil {
		t.Error(err)
	}
	put("b.jar", "c")
	if err := verify(dir, sums); err == nil || !strings.Contains(err.Error(), "b.jar has the SHA-256") {
		t.Errorf("a changed jar: %v", err)
	}
	put("b.jar", "b")
	put("c.jar", "c")
	if err := verify(dir, sums); err == nil || !strings.Contains(err.Error(), "c.jar is not in the list") {
		t.Errorf("a jar too many: %v", err)
	}
}

func TestStatusKnowsItsOwnProcess(t *testing.T) {
	e, _ := Find("flink")
	dir := t.TempDir()
	if _, err := Status(e, dir); !errors.Is(err, ErrDown) {
		t.Errorf("no state: %v", err)
	}
	// This process runs and is not a job server: its number was used again.
	raw, _ := json.Marshal(State{Engine: e.Name, PID: os.Getpid(), Endpoint: "localhost:1"})
	if err := os.WriteFile(filepath.Join(dir, stateFile), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Status(e, dir); !errors.Is(err, ErrDown) {
		t.Errorf("another process: %v", err)
	}
	if _, err := Down(e, dir); !errors.Is(err, ErrDown) {
		t.Errorf("down of another process: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, stateFile)); err == nil {
		t.Error("the stale state is left")
	}
}

// tool writes an executable of a name that runs a shell script, and makes its folder the path.
func tool(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the stand-ins are shell scripts")
	}
	e, _ := Find("flink")
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	t.Setenv("JAVA_HOME", "")
	up := func() string {
		_, err := Up(context.Background(), e, Options{})
		return fmt.Sprint(err)
	}
	t.Setenv("PATH", t.TempDir())
	if got := up(); !strings.Contains(got, "no Java") {
		t.Errorf("without java: %s", got)
	}
	tool(t, "java", `echo 'openjdk version "1.8.0_392"' >&2`)
	if got := up(); !strings.Contains(got, "is Java 8") {
		t.Errorf("with an old java: %s", got)
	}
	tool(t, "java", `echo 'openjdk version "17.0.15" 2025-04-15' >&2`)
	if got := up(); !strings.Contains(got, "mvn is not in the path") {
		t.Errorf("without mvn: %s", got)
	}
	tool(t, "mvn", `echo '[ERROR] no route to the repository'; exit 1`)
	java := t.TempDir()
	if err := os.Mkdir(filepath.Join(java, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(java, "bin", "java"), []byte("#!/bin/sh\necho 'version \"17\"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JAVA_HOME", java)
	if got := up(); !strings.Contains(got, "no route to the repository") {
		t.Errorf("without a repository: %s", got)
	}
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("ADAPTFLOW_CACHE"), "jobserver", "jars", unstaged, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAServerThatEndsSaysWhy(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, []byte("java.lang.IllegalArgumentException: no such option\n\tat org.apache\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ended <- errors.New("exit status 1")
	_, err := ready(context.Background(), log, ended)
	if err == nil || !strings.Contains(err.Error(), "no such option") || strings.Contains(err.Error(), "at org") {
		t.Errorf("%v", err)
	}
}
