// Package jobserver brings up Beam job servers with an engine inside (Flink, Spark) on this machine, from Maven and without Docker, and
// ends them. What they are made of is pinned: the pom and the SHA-256 of every jar are part of the program. Other versions are asked for by
// name: see [Versions].
package jobserver

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// host is where every server listens that is brought up here: a name would be looked up, and may be another address for who connects.
const host = "127.0.0.1"

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
	// Pinned are the versions whose jars' checksums are part of the program: the default.
	Pinned Versions
	series []series // the minor versions that can be brought up, newest first
	// own is the pattern of the names of the engine's own jars, with their version as its group.
	own *regexp.Regexp
	// managed are artifacts whose version the pom of other versions than the pinned ones says: GROUP:NAME, of the engine's, which Beam's
	// runner asks for in the version it was built with; GROUP:NAME:VERSION of others; GROUP:NAME:VERSION:SCOPE.
	managed []string
}

// Engines are the job servers that can be brought up.
var Engines = []Engine{
	{Name: "flink", Title: "Flink", main: "org.apache.beam.runners.flink.FlinkJobServerDriver",
		args: []string{"--flink-master=[local]"}, Cluster: true,
		Pinned: Versions{Beam: "2.62.0", Engine: "1.19.0"},
		series: []series{{"1.19", "beam-runners-flink-1.19", "2.61.0"}, {"1.18", "beam-runners-flink-1.18", "2.57.0"},
			{"1.17", "beam-runners-flink-1.17", "2.56.0"}},
		own: regexp.MustCompile(`^flink-[a-z-]+-([0-9.]+)\.jar$`),
		managed: []string{"org.apache.flink:flink-clients", "org.apache.flink:flink-core", "org.apache.flink:flink-java",
			"org.apache.flink:flink-metrics-core", "org.apache.flink:flink-runtime", "org.apache.flink:flink-streaming-java"}},
	{Name: "spark", Title: "Spark", main: "org.apache.beam.runners.spark.SparkJobServerDriver",
		args:       []string{"--spark-master-url=local[4]"},
		properties: []string{"-Dspark.ui.enabled=false", "-Dspark.driver.host=" + host, "-Dspark.driver.bindAddress=" + host},
		Pinned:     Versions{Beam: "2.62.0", Engine: "3.5.0"},
		series: []series{{"3.5", "beam-runners-spark-3", oldestBeam}, {"3.4", "beam-runners-spark-3", oldestBeam},
			{"3.3", "beam-runners-spark-3", oldestBeam}, {"3.2", "beam-runners-spark-3", oldestBeam}},
		own: regexp.MustCompile(`^spark-[a-z-]+_2\.12-([0-9.]+)\.jar$`),
		// Spark before 3.5 has one that refuses Beam's Jackson, 2.15.4; before 3.4 it has a log of its own, in which the server's address,
		// which is read from slf4j-simple's, would not stand. What a test needs is not in a class path.
		managed: []string{"com.fasterxml.jackson.module:jackson-module-scala_2.12:2.15.2",
			"org.apache.logging.log4j:log4j-slf4j-impl:2.17.2:test", "org.slf4j:slf4j-log4j12:1.7.30:test"}},
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
	// Versions of what the server is made of; where empty, the engine's pinned ones.
	Versions Versions
	// TaskManagers, where not 0, is how many task managers a cluster of processes has; without, the engine runs inside the job server.
	TaskManagers int
	// Supervisor says how a process is started that calls [Supervise] with the engine and these options: its program, and arguments of
	// which one is Dir alone. The caller knows what its own command line means. It is needed with TaskManagers.
	Supervisor func(e Engine, o Options) (program string, args []string, err error)
	// Env are variables that the server's processes get beside those that every child gets: see [childenv.Set].
	Env []string
	// Say receives what happens, in whole lines; nil for nobody.
	Say func(format string, a ...any)
}

// State is a server that was brought up.
type State struct {
	Engine   string `json:"engine"`
	PID      int    `json:"pid"`
	Endpoint string `json:"endpoint"` // of the job service, host:port
	// Web is the address of the engine's web interface and REST API, http://host:port; "" where the engine runs inside the job server,
	// which has none.
	Web     string    `json:"web,omitempty"`
	Log     string    `json:"log"`
	Started time.Time `json:"started"`
	// Versions of what runs; nil where an adaptflow brought it up that had the pinned ones alone.
	Versions *Versions `json:"versions,omitempty"`
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

// Process is one process of a cluster.
type Process struct {
	Name string `json:"name"` // supervisor, job-manager, task-manager-1, job-server
	PID  int    `json:"pid"`
	Log  string `json:"log"`
}

// dir is the folder of the engine's server.
func (e Engine) dir(given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	cache, err := storage.CacheDir()
	return filepath.Join(cache, "jobserver", e.Name), err
}

// mark is the Java property by which a server's process is known.
func (e Engine) mark(dir string) string { return "-Dadaptflow.jobserver=" + dir }

// heap is Java's notation of a heap's bound.
var heap = regexp.MustCompile(`^[1-9][0-9]{0,11}[kKmMgG]?$`)

// check refuses what Java would refuse after the jars were fetched.
func (o Options) check() error {
	if o.Memory != "" && !heap.MatchString(o.Memory) {
		return fmt.Errorf("--memory %q: want a number and k, m or g, as 1g", o.Memory)
	}
	return nil
}
