package jobserver

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// loopbackJar has the class by which Beam's servers listen on the loopback address: its source is beside it, in loopback/org. It is checked
// in as built, so that a Java runtime is enough where servers are brought up.
//
//go:embed loopback/loopback.jar
var loopbackJar []byte

// loopback is the file of [loopbackJar] below a server's folder, under a path whose jars are not sent along with every job.
func loopback(dir string) string {
	return filepath.Join(dir, "tmp", filepath.FromSlash(unstaged), "loopback.jar")
}

// classPath is the class path of an engine's processes: classes of loopback.jar are found before those of the same name in the engine's
// jars.
func classPath(jars, dir string) string {
	return strings.Join([]string{loopback(dir), filepath.Join(jars, "*")}, string(os.PathListSeparator))
}

// writeLoopback puts loopback.jar where classPath has it.
func writeLoopback(dir string) error { return storage.WriteFile(loopback(dir), loopbackJar) }
