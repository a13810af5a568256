package jobserver

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestServersListenOnLoopback holds what every Java process is started with to what keeps its servers on the loopback address;
// interop/doors_engines.sh tries them from another network namespace.
func TestServersListenOnLoopback(t *testing.T) {
	for _, e := range Engines {
		args := e.java("java", "/jars", "/dir", "1g")
		path := args[slices.Index(args, "-cp")+1]
		if first, rest, _ := strings.Cut(path, string(os.PathListSeparator)); first != loopback("/dir") ||
			rest != filepath.Join("/jars", "*") {
			t.Errorf("%s: the class path %q does not begin with the loopback servers", e.Name, path)
		}
		if args := e.driver(0, "/dir", "--x"); !slices.Contains(args, "--job-host="+host) || args[len(args)-1] != "--x" {
			t.Errorf("%s: %q", e.Name, args)
		}
	}
	spark, _ := Find("spark")
	for _, p := range []string{"-Dspark.ui.enabled=false", "-Dspark.driver.host=" + host, "-Dspark.driver.bindAddress=" + host} {
		if !slices.Contains(spark.java("java", "/jars", "/dir", "1g"), p) {
			t.Errorf("spark is started without %s", p)
		}
	}
	for name, conf := range map[string]string{"inside the job server": localConf, "a cluster": clusterConf(1, 2, "1.19.0", "/tmp")} {
		for _, key := range []string{"jobmanager.bind-host", "taskmanager.bind-host", "taskmanager.host", "rest.address",
			"rest.bind-address"} {
			if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(key) + `: (localhost|127\.0\.0\.1)$`).MatchString(conf) {
				t.Errorf("Flink, %s: no %s", name, key)
			}
		}
	}
}

// TestLoopbackJar holds the jar to the class that it stands before, and its place to what is not sent along with jobs.
func TestLoopbackJar(t *testing.T) {
	z, err := zip.NewReader(bytes.NewReader(loopbackJar), int64(len(loopbackJar)))
	if err != nil {
		t.Fatal(err)
	}
	var classes []string
	for _, f := range z.File {
		if !strings.HasSuffix(f.Name, "/") {
			classes = append(classes, f.Name)
		}
	}
	const at = "org/apache/beam/sdk/fn/server/ServerFactory"
	if want := []string{at + "$Loopback.class", at + "$UrlFactory.class", at + ".class"}; !slices.Equal(classes, want) {
		t.Errorf("loopback.jar holds %v, want %v", classes, want)
	}
	dir := t.TempDir()
	if err := writeLoopback(dir); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(loopback(dir)); err != nil || !bytes.Equal(got, loopbackJar) ||
		!strings.Contains(filepath.ToSlash(loopback(dir)), "/"+unstaged+"/") {
		t.Errorf("%s: %d bytes, %v", loopback(dir), len(got), err)
	}
}
