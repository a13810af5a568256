package jobserver

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// readLock reads the checksums that the first fetch of versions left; nil where there was none.
func readLock(path string) (map[string]string, error) {
	raw, err := storage.ReadSmall(path, storage.KindConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseSums(path, raw)
}

// writeLock writes checksums as sha256sum does.
func writeLock(path string, sums map[string]string) error {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(&text, "%s  %s\n", sums[name], name)
	}
	return storage.WriteFile(path, []byte(text.String()))
}

// inspect looks at the jars that Maven fetched for other versions than the pinned ones, and returns their checksums. Beam's runner is among
// them, and the gRPC that loopback.jar fits; the engine's own are of one version; and those that the pinned versions have too are the same.
func (e Engine) inspect(dir string, k kit) (map[string]string, error) {
	known := map[string]string{}
	for _, e := range Engines {
		sums, err := e.sums()
		if err != nil {
			return nil, err
		}
		maps.Copy(known, sums)
	}
	es, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	server := false
	for _, f := range es {
		name := f.Name()
		if out[name], err = fileSum(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
		if want := known[name]; want != "" && out[name] != want {
			return nil, fmt.Errorf("%s has the SHA-256 %s, not %s", name, out[name], want)
		}
		if m := e.own.FindStringSubmatch(name); m != nil && m[1] != k.versions.Engine {
			return nil, fmt.Errorf("%s is among the jars of %s %s", name, e.Title, k.versions.Engine)
		}
		server = server || strings.HasPrefix(name, grpc)
	}
	if runner := k.series.runner + "-" + k.versions.Beam + ".jar"; out[runner] == "" {
		return nil, fmt.Errorf("%s is missing", runner)
	}
	if !server {
		return nil, fmt.Errorf("%s….jar is missing, which is to keep the servers on the loopback address; start the job server of %s "+
			"yourself, and name it by --endpoint HOST:PORT", grpc, e.says(k.versions))
	}
	return out, nil
}

var (
	coordinates = regexp.MustCompile(`org\.apache\.(?:beam|flink|spark):[\w.-]+:(?:jar|pom):[\w.-]*\w`)
	notFound    = regexp.MustCompile(`(?:Could not find artifact|was not found in|Failure to find)`)
	asked       = regexp.MustCompile(` in (?:[\w.-]+ \()?(https?://[^\s()]+|file:[^\s()]+)`)
)

// missing are the artifacts, as GROUP:ARTIFACT:VERSION, that an error of Maven's says no repository has, and the repository that was asked,
// as " in URL"; "" where it is another error.
func missing(text string) (what, where string) {
	if !notFound.MatchString(text) {
		return "", ""
	}
	var names []string
	for _, c := range coordinates.FindAllString(text, -1) {
		if c = strings.NewReplacer(":jar:", ":", ":pom:", ":").Replace(c); !slices.Contains(names, c) {
			names = append(names, c)
		}
	}
	if few := 2; len(names) > few+1 {
		names = append(names[:few], fmt.Sprintf("%d more", len(names)-few))
	}
	if m := asked.FindStringSubmatch(text); m != nil {
		where = " in " + m[1]
	}
	return list(names, "and"), where
}
