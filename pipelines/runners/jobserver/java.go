package jobserver

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

const (
	// What a task manager gets, in MiB: Beam's bundles are in the workers, so that little is enough.
	taskHeap, frameworkHeap, managed, network = 384, 128, 128, 64
	// restarts is how often Flink starts a job again after a failure, which a lost task manager is, a second apart.
	restarts, restartDelay = 3, "1 s"
)

// flinkConf is the file's name in a folder of Flink's configuration.
const flinkConf = "flink-conf.yaml"

// localConf is the configuration of a Flink inside the job server, whose servers would listen on all interfaces.
var localConf = strings.Join([]string{"jobmanager.bind-host: " + host, "taskmanager.bind-host: " + host, "taskmanager.host: " + host,
	"rest.address: " + host, "rest.bind-address: " + host}, "\n") + "\n"

// clusterConf is Flink's configuration: https://nightlies.apache.org/flink/flink-docs-release-1.19/docs/deployment/config/.
func clusterConf(rpc, web int, version, tmp string) string {
	strategy := "restart-strategy.type"
	if minor(version) == "1.17" { // the key's name before 1.18
		strategy = "restart-strategy"
	}
	return strings.Join([]string{
		"jobmanager.rpc.address: localhost",
		"jobmanager.rpc.port: " + strconv.Itoa(rpc),
		"jobmanager.bind-host: localhost",
		"rest.address: localhost",
		"rest.bind-address: localhost",
		"rest.port: " + strconv.Itoa(web),
		"web.tmpdir: " + tmp,
		"io.tmp.dirs: " + tmp,
		"taskmanager.host: localhost",
		"taskmanager.bind-host: localhost",
		"taskmanager.cpu.cores: 1.0",
		fmt.Sprintf("taskmanager.numberOfTaskSlots: %d", runtime.NumCPU()), // one task manager alone can take a job over
		fmt.Sprintf("taskmanager.memory.task.heap.size: %dm", taskHeap),
		"taskmanager.memory.task.off-heap.size: 0m",
		fmt.Sprintf("taskmanager.memory.framework.heap.size: %dm", frameworkHeap),
		"taskmanager.memory.framework.off-heap.size: 128m",
		fmt.Sprintf("taskmanager.memory.managed.size: %dm", managed),
		fmt.Sprintf("taskmanager.memory.network.min: %dm", network),
		fmt.Sprintf("taskmanager.memory.network.max: %dm", network),
		"taskmanager.memory.jvm-metaspace.size: 256m",
		"taskmanager.memory.jvm-overhead.min: 192m",
		"taskmanager.memory.jvm-overhead.max: 192m",
		"cluster.evenly-spread-out-slots: true",
		// The class path of every process has all that a job needs: what a job brings is not loaded again.
		"classloader.resolve-order: parent-first",
		"classloader.check-leaked-classloader: false",
		strategy + ": fixed-delay",
		fmt.Sprintf("restart-strategy.fixed-delay.attempts: %d", restarts),
		"restart-strategy.fixed-delay.delay: " + restartDelay,
		"heartbeat.interval: 1000",
		"heartbeat.timeout: 30000",
	}, "\n") + "\n"
}

// opens are the packages that the engines reach into, which Java 17 closes.
var opens = func() (out []string) {
	for _, p := range []string{"java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util",
		"java.util.concurrent",
		"java.util.concurrent.atomic", "sun.nio.ch", "sun.nio.cs", "sun.security.action", "sun.util.calendar"} {
		out = append(out, "--add-opens=java.base/"+p+"=ALL-UNNAMED")
	}
	return out
}()

// java is what every process of the engine starts with: the program and its first arguments.
func (e Engine) java(program, jars, dir, memory string) []string {
	args := []string{program, "-Xmx" + memory, "-Djava.io.tmpdir=" + filepath.Join(dir, "tmp"), e.mark(dir),
		"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS"}
	return append(append(append(args, e.properties...), opens...), "-cp", classPath(jars, dir))
}

// driver is the job server's class and arguments.
func (e Engine) driver(port int, dir string, engine ...string) []string {
	return append([]string{e.main, "--job-host=" + host, "--job-port=" + strconv.Itoa(port), "--artifact-port=0", "--expansion-port=0",
		"--artifacts-dir=" + filepath.Join(dir, artifacts)}, engine...)
}
