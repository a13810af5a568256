package jobserver

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/childenv"
)

func TestVersionsAreCompletedOrRefused(t *testing.T) {
	for _, r := range []struct {
		engine     string
		beam, of   string // as given
		want       Versions
		runner     string
		refused    string // a part of the error
		suggestion string // another
	}{
		{engine: "flink", want: Versions{"2.62.0", "1.19.0"}, runner: "beam-runners-flink-1.19"},
		{engine: "flink", of: "1.19", want: Versions{"2.62.0", "1.19.0"}, runner: "beam-runners-flink-1.19"},
		{engine: "flink", of: "1.19.3", want: Versions{"2.62.0", "1.19.3"}, runner: "beam-runners-flink-1.19"},
		{engine: "flink", of: "1.18", want: Versions{"2.62.0", "1.18.0"}, runner: "beam-runners-flink-1.18"},
		{engine: "flink", beam: "2.61.0", want: Versions{"2.61.0", "1.19.0"}, runner: "beam-runners-flink-1.19"},
		{engine: "flink", beam: "2.57.0", of: "1.17.2", want: Versions{"2.57.0", "1.17.2"}, runner: "beam-runners-flink-1.17"},
		{engine: "spark", want: Versions{"2.62.0", "3.5.0"}, runner: "beam-runners-spark-3"},
		{engine: "spark", beam: "2.58.0", of: "3.4.4", want: Versions{"2.58.0", "3.4.4"}, runner: "beam-runners-spark-3"},

		{engine: "flink", beam: "2.60.0", refused: "no runner for Flink 1.19: org.apache.beam:beam-runners-flink-1.19 begins with 2.61.0",
			suggestion: "--beam-version 2.61.0 or newer, or --flink-version 1.18 or 1.17"},
		{engine: "flink", beam: "2.56.0", of: "1.17.1", refused: "--beam-version 2.56.0: ", suggestion: "2.57.0 to 2.62.0"},
		{engine: "flink", of: "1.20.1", refused: "--flink-version 1.20.1: ", suggestion: "Flink 1.19, 1.18 and 1.17"},
		{engine: "flink", of: "1.9", refused: "--flink-version 1.9.0: ", suggestion: "--endpoint"},
		{engine: "flink", of: "2.0.0", refused: "--flink-version 2.0.0: "},
		{engine: "spark", of: "4.0.1", refused: "--spark-version 4.0.1: ", suggestion: "Spark 3.5, 3.4, 3.3 and 3.2"},
		{engine: "spark", of: "3.1.3", refused: "--spark-version 3.1.3: "},
		{engine: "spark", beam: "2.63.0", refused: "--beam-version 2.63.0: ", suggestion: "2.57.0 to 2.62.0"},
		{engine: "flink", beam: "2.9.0", refused: "--beam-version 2.9.0: ", suggestion: "--endpoint"},
		{engine: "flink", beam: "2.62", refused: `--beam-version "2.62": `, suggestion: "want a release as 2.62.0"},
		{engine: "flink", beam: "latest", refused: `--beam-version "latest": `},
		{engine: "flink", of: "1.19.x", refused: `--flink-version "1.19.x": `, suggestion: "1.19.0 or a minor version as 1.19"},
		{engine: "flink", of: "1.19.0</version>", refused: "--flink-version "},
		{engine: "spark", of: "3", refused: `--spark-version "3": `},
		{engine: "spark", of: "3.5.0-preview", refused: "--spark-version "},
	} {
		e, _ := Find(r.engine)
		v, s, err := e.resolve(Versions{r.beam, r.of})
		if r.refused != "" {
			if err == nil || !strings.Contains(err.Error(), r.refused) || !strings.Contains(err.Error(), r.suggestion) {
				t.Errorf("%s, Beam %q, %q: %v, want %q and %q", r.engine, r.beam, r.of, err, r.refused, r.suggestion)
			}
			// It is refused before Java, Maven or a folder is looked for.
			t.Setenv("PATH", t.TempDir())
			if _, up := Up(context.Background(), e, Options{Dir: filepath.Join(t.TempDir(), "x"),
				Versions: Versions{r.beam, r.of}}); up == nil || up.Error() != err.Error() {
				t.Errorf("up: %v, want %v", up, err)
			}
			continue
		}
		if err != nil || v != r.want || s.runner != r.runner {
			t.Errorf("%s, Beam %q, %q: %v, %s, %v; want %v, %s", r.engine, r.beam, r.of, v, s.runner, err, r.want, r.runner)
		}
	}
}

// TestVersionsHaveFoldersOfTheirOwn: the pinned ones' is where it was before there were others.
func TestVersionsHaveFoldersOfTheirOwn(t *testing.T) {
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	seen := map[string]bool{}
	for _, r := range []struct {
		engine, beam, of string
		name             string // a pattern
		pinned           bool
	}{
		{"flink", "", "", `^flink-98a1483ebb53$`, true},
		{"flink", "2.61.0", "", `^flink-1\.19\.0-beam-2\.61\.0-[0-9a-f]{12}$`, false},
		{"flink", "", "1.19.3", `^flink-1\.19\.3-beam-2\.62\.0-[0-9a-f]{12}$`, false},
		{"flink", "", "1.18", `^flink-1\.18\.0-beam-2\.62\.0-[0-9a-f]{12}$`, false},
		{"spark", "", "", `^spark-6495208239ac$`, true},
		{"spark", "", "3.4.4", `^spark-3\.4\.4-beam-2\.62\.0-[0-9a-f]{12}$`, false},
		{"spark", "2.61.0", "3.4.4", `^spark-3\.4\.4-beam-2\.61\.0-[0-9a-f]{12}$`, false},
	} {
		e, _ := Find(r.engine)
		k, err := e.kit(Versions{r.beam, r.of})
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(k.dir)
		if !regexp.MustCompile(r.name).MatchString(name) || seen[name] || !strings.Contains(filepath.ToSlash(k.dir), "/"+unstaged+"/") {
			t.Errorf("%s %v lies in %s, want %s", r.engine, k.versions, k.dir, r.name)
		}
		seen[name] = true
		if (k.lock == "") != r.pinned || (k.sums != nil) != r.pinned {
			t.Errorf("%s %v: lock %q, %d checksums", r.engine, k.versions, k.lock, len(k.sums))
		}
		// Each version that the pom names is one that was asked for, or that of another project.
		named := regexp.MustCompile(`>org\.apache\.(beam|flink|spark)</groupId><artifactId>([^<]+)</artifactId><version>([^<]+)<`)
		for _, m := range named.FindAllStringSubmatch(string(k.pom), -1) {
			want := k.versions.Engine
			if m[1] == "beam" {
				want = k.versions.Beam
			}
			if m[3] != want || strings.HasPrefix(m[2], "beam-runners") && m[2] != k.series.runner {
				t.Errorf("%s %v: the pom has %s %s", r.engine, k.versions, m[2], m[3])
			}
		}
		managed := map[string]string{"flink": "flink-runtime</artifactId><version>" + k.versions.Engine,
			"spark": "slf4j-log4j12</artifactId><version>1.7.30</version><scope>test</scope></dependency>"}[r.engine]
		if strings.Contains(string(k.pom), managed) == r.pinned {
			t.Errorf("%s %v, pinned %v: %s in %s", r.engine, k.versions, r.pinned, managed, k.pom)
		}
	}
}

// fakeMaven is a Maven in the path whose repository is a folder of jars: it copies all of them where the command says.
func fakeMaven(t *testing.T) (repository, notes string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the stand-in is a shell script")
	}
	repository, notes, bin := t.TempDir(), t.TempDir(), t.TempDir()
	script := `#!/bin/sh
echo "$@" > ` + notes + `/args; cp pom.xml ` + notes + `/
for a; do case $a in -DoutputDirectory=*) out=${a#*=};; esac; done
mkdir "$out" && cp ` + repository + `/*.jar "$out"
`
	if err := os.WriteFile(filepath.Join(bin, "mvn"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	return repository, notes
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOtherVersionsAreHeldToTheirFirstFetch(t *testing.T) {
	repository, notes := fakeMaven(t)
	e, _ := Find("flink")
	v := Versions{Engine: "1.19.3"}
	for _, jar := range []string{"beam-runners-flink-1.19-2.62.0.jar", "beam-vendor-grpc-1_60_1-0.3.jar", "flink-core-1.19.3.jar",
		"flink-shaded-guava-31.1-jre-17.0.jar", "other-1.jar"} {
		if sums, err := e.sums(); err != nil || sums[jar] == "" {
			write(t, repository, jar, "bytes of "+jar)
		}
	}
	jars := func() (string, error) { return e.jars(context.Background(), childenv.Set{}, v, t.Logf) }
	refused := func(want string) {
		t.Helper()
		if dir, err := jars(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s, %v; want %q", dir, err, want)
		}
	}
	refused("beam-runners-flink-1.19-2.62.0.jar is missing")
	write(t, repository, "beam-runners-flink-1.19-2.62.0.jar", "not Beam's")
	refused("beam-runners-flink-1.19-2.62.0.jar has the SHA-256") // the pinned versions have this jar, too
	k, err := e.kit(v)
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(k.dir), "*")); len(left) > 0 {
		t.Errorf("left of what was refused: %v", left)
	}

	// Versions none of whose jars are pinned.
	v = Versions{Beam: "2.61.0", Engine: "1.19.3"}
	if err := os.Remove(filepath.Join(repository, "beam-runners-flink-1.19-2.62.0.jar")); err != nil {
		t.Fatal(err)
	}
	write(t, repository, "beam-runners-flink-1.19-2.61.0.jar", "Beam's")
	refused(grpc)
	write(t, repository, "beam-vendor-grpc-1_60_1-0.2.jar", "gRPC")
	write(t, repository, "flink-java-1.19.1.jar", "another version")
	refused("flink-java-1.19.1.jar is among the jars of Flink 1.19.3")
	if err := os.Remove(filepath.Join(repository, "flink-java-1.19.1.jar")); err != nil {
		t.Fatal(err)
	}
	dir, err := jars()
	if err != nil {
		t.Fatal(err)
	}
	args, _ := os.ReadFile(filepath.Join(notes, "args"))
	if !strings.Contains(string(args), " -C ") || !strings.Contains(string(args), resolver) {
		t.Errorf("Maven is called with %s", args)
	}
	k, err = e.kit(v)
	if err != nil || dir != k.dir || len(k.sums) != 4 {
		t.Errorf("%s, %d checksums, %v", dir, len(k.sums), err)
	}

	if err := os.Rename(filepath.Join(repository, "other-1.jar"), filepath.Join(repository, "other-2.jar")); err != nil {
		t.Fatal(err)
	}
	if again, err := jars(); err != nil || again != dir { // Maven is not asked
		t.Errorf("%s, %v", again, err)
	}
	write(t, dir, "other-1.jar", "changed")
	refused("other-1.jar has the SHA-256")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	refused("other-2.jar is not in the list of checksums") // what Maven has now is not what it had first
	if err := os.Rename(filepath.Join(repository, "other-2.jar"), filepath.Join(repository, "other-1.jar")); err != nil {
		t.Fatal(err)
	}
	if _, err := jars(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(k.lock); err != nil {
		t.Fatal(err)
	}
	refused("there are no checksums of " + dir)
}

func TestWhatMavenDoesNotFindIsNamed(t *testing.T) {
	const at = " in central (https://repo.example/maven2) -> [Help 1]"
	for text, want := range map[string][2]string{
		"Could not resolve dependencies for project adaptflow:flink-job-server:pom:1: Could not find artifact " +
			"org.apache.beam:beam-runners-flink-1.18:jar:2.62.0" + at: {"org.apache.beam:beam-runners-flink-1.18:2.62.0",
			" in https://repo.example/maven2"},
		"org.apache.beam:beam-runners-flink-1.18:jar:2.62.0 was not found in https://repo.example/maven2 during a previous attempt": {
			"org.apache.beam:beam-runners-flink-1.18:2.62.0", " in https://repo.example/maven2"},
		"The following artifacts could not be resolved: org.apache.flink:flink-core:jar:1.19.9, org.apache.flink:flink-java:jar:1.19.9, " +
			"org.apache.flink:flink-clients:jar:1.19.9, org.apache.flink:flink-runtime:jar:1.19.9: Could not find artifact " +
			"org.apache.flink:flink-core:jar:1.19.9" + at: {
			"org.apache.flink:flink-core:1.19.9, org.apache.flink:flink-java:1.19.9 and 2 more",
			" in https://repo.example/maven2"},
		"Could not transfer artifact org.apache.beam:beam-runners-flink-1.19:pom:2.62.0 from/to central: connection refused": {},
	} {
		if what, where := missing(text); what != want[0] || where != want[1] {
			t.Errorf("%q, %q of %s; want %q", what, where, text, want)
		}
	}
	fakeMaven(t)
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Dir(mvn), "mvn", "#!/bin/sh\n"+
		"echo '[ERROR] Could not find artifact org.apache.beam:beam-runners-flink-1.18:jar:2.62.0"+at+"'; exit 1\n")
	e, _ := Find("flink")
	_, err = e.jars(context.Background(), childenv.Set{}, Versions{Engine: "1.18.1"}, t.Logf)
	for _, want := range []string{"Beam 2.62.0 with Flink 1.18.1 needs org.apache.beam:beam-runners-flink-1.18:2.62.0",
		"in https://repo.example", "the pinned ones are Beam 2.62.0 with Flink 1.19.0"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestAServerOfOtherVersionsIsNotTaken: up returns a server that is up where it is of the versions that were asked for, and else says so.
func TestAServerOfOtherVersionsIsNotTaken(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks into /proc")
	}
	e, _ := Find("flink")
	dir := t.TempDir()
	cmd := exec.Command("/bin/sh", "-c", "sleep 600; : "+e.mark(dir)+" "+loopback(dir))
	detach(cmd)
	start(t, cmd)
	defer func() { killGroup(cmd.Process.Pid); _ = cmd.Wait() }()
	t.Setenv("PATH", t.TempDir()) // nothing is brought up
	for _, r := range []struct {
		runs  *Versions
		asked Versions
		taken bool
	}{
		{nil, Versions{}, true},
		{nil, e.Pinned, true},
		{nil, Versions{Engine: "1.19.3"}, false},
		{&Versions{"2.62.0", "1.19.3"}, Versions{Engine: "1.19.3"}, true},
		{&Versions{"2.62.0", "1.19.3"}, Versions{}, false},
		{&Versions{"2.61.0", "1.19.3"}, Versions{Engine: "1.19.3"}, false},
	} {
		if err := writeState(dir, &State{Engine: e.Name, PID: cmd.Process.Pid, Endpoint: "localhost:1", Versions: r.runs}); err != nil {
			t.Fatal(err)
		}
		st, err := Up(context.Background(), e, Options{Dir: dir, Versions: r.asked})
		switch {
		case r.taken && (err != nil || st.Endpoint != "localhost:1"):
			t.Errorf("%v runs, %v was asked for: %v", r.runs, r.asked, err)
		case !r.taken && (err == nil || !strings.Contains(err.Error(), "adaptflow flink down")):
			t.Errorf("%v runs, %v was asked for: %v", r.runs, r.asked, err)
		}
	}
	if _, err := Status(e, dir); errors.Is(err, ErrDown) {
		t.Error(err)
	}
}

func TestTheRestartStrategyHasTheVersionsKey(t *testing.T) {
	for version, want := range map[string]string{"1.17.2": "restart-strategy: fixed-delay", "1.18.0": "restart-strategy.type: fixed-delay",
		"1.19.3": "restart-strategy.type: fixed-delay"} {
		if lines := strings.Split(clusterConf(1, 2, version, "/tmp"), "\n"); !slices.Contains(lines, want) {
			t.Errorf("Flink %s: no line %q", version, want)
		}
	}
}
