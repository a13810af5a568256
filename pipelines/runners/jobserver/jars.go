package jobserver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/adaptflow/adaptflow/internal/childenv"
	"github.com/adaptflow/adaptflow/internal/storage"
)

//go:embed flink/* spark/*
var pinned embed.FS

// resolver is the Maven plugin, pinned as the jars are, that gathers the dependencies of a pom.
const resolver = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"

// mavens are the variables that Maven reads.
var mavens = []string{"MAVEN_OPTS", "MAVEN_ARGS", "MAVEN_CONFIG", "MAVEN_HOME", "M2_HOME"}

// sums are the pinned checksums of an engine: SHA-256 in hexadecimal by the jar's name.
func (e Engine) sums() (map[string]string, error) {
	raw, err := pinned.ReadFile(e.Name + "/SHA256SUMS")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for s := bufio.NewScanner(bytes.NewReader(raw)); s.Scan(); {
		sum, name, ok := strings.Cut(s.Text(), "  ")
		if !ok || len(sum) != 2*sha256.Size {
			return nil, fmt.Errorf("%s/SHA256SUMS: no line of sha256sum's: %q", e.Name, s.Text())
		}
		out[name] = sum
	}
	return out, nil
}

// unstaged is a part of a path whose jars Beam's job server does not send to a cluster with every job (PipelineResources.isStageable leaves
// out what Gradle starts itself with). Every process of a cluster has them in its class path, and 152 MB a job would be copied to each.
const unstaged = "gradle/wrapper"

// jars returns the folder of the engine's jars in the cache, having filled it with Maven where it is not there, and checks every jar.
func (e Engine) jars(ctx context.Context, env childenv.Set, say func(string, ...any)) (string, error) {
	sums, err := e.sums()
	if err != nil {
		return "", err
	}
	pom, err := pinned.ReadFile(e.Name + "/pom.xml")
	if err != nil {
		return "", err
	}
	cache, err := storage.CacheDir()
	if err != nil {
		return "", err
	}
	key := sha256.Sum256(pom)
	dir := filepath.Join(cache, "jobserver", "jars", unstaged, e.Name+"-"+hex.EncodeToString(key[:6]))
	if _, err := os.Stat(dir); err == nil {
		if err := verify(dir, sums); err != nil {
			return "", fmt.Errorf("%w; delete %s, and it is fetched again", err, dir)
		}
		return dir, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", errors.New("mvn is not in the path: install Apache Maven 3.6 or newer; it fetches the job server's jars, once")
	}
	if err := storage.MkdirAll(filepath.Dir(dir)); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := os.WriteFile(filepath.Join(tmp, "pom.xml"), pom, 0o644); err != nil {
		return "", err
	}
	lib := filepath.Join(tmp, "lib")
	say("fetching the %d jars of the %s job server with Maven, once (150 to 350 MB)", len(sums), e.Title)
	env.More = append(slices.Clone(mavens), env.More...)
	cmd := env.Command(ctx, mvn, "-q", "-B", resolver, "-DoutputDirectory="+lib, "-DincludeScope=runtime")
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("mvn could not fetch the %s job server: %w: %s", e.Title, err, firstError(out))
	}
	if err := verify(lib, sums); err != nil {
		return "", fmt.Errorf("what Maven fetched is not what was pinned: %w", err)
	}
	if err := os.Chmod(lib, 0o700); err != nil { // Maven takes the umask, which may let others write there
		return "", err
	}
	if err := os.Rename(lib, dir); err != nil {
		if verify(dir, sums) == nil { // another process was faster
			return dir, nil
		}
		return "", err
	}
	return dir, nil
}

// firstError is the first line of Maven's that tells an error.
func firstError(out []byte) string {
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		if _, text, ok := strings.Cut(s.Text(), "[ERROR]"); ok && strings.TrimSpace(text) != "" {
			return strings.TrimSpace(text)
		}
	}
	return strings.TrimSpace(string(out))
}

// verify checks that a folder holds exactly the files that sums names.
func verify(dir string, sums map[string]string) error {
	es, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, e := range es {
		want, ok := sums[e.Name()]
		if !ok {
			return fmt.Errorf("%s is not in the list of checksums", filepath.Join(dir, e.Name()))
		}
		got, err := fileSum(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s has the SHA-256 %s, not %s", filepath.Join(dir, e.Name()), got, want)
		}
		seen[e.Name()] = true
	}
	var missing []string
	for name := range sums {
		if !seen[name] {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		sort.Strings(missing)
		return fmt.Errorf("%s lacks %s", dir, strings.Join(missing, ", "))
	}
	return nil
}

func fileSum(path string) (string, error) {
	f, err := storage.OpenFile(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

var javaVersion = regexp.MustCompile(`version "(?:1\.)?(\d+)`)

// minJava is the oldest Java that the engines are started with here.
const minJava = 11

// findJava returns the java of JAVA_HOME, or else of the path.
func findJava(ctx context.Context) (string, error) {
	java := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		java = filepath.Join(home, "bin", "java")
	}
	path, err := exec.LookPath(java)
	if err != nil {
		return "", fmt.Errorf("no Java (%s): install a Java runtime, 11 or 17, and put it in the path or name its folder in JAVA_HOME",
			java)
	}
	out, err := childenv.Command(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s -version: %w: %s", path, err, strings.TrimSpace(string(out)))
	}
	m := javaVersion.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%s -version says no version: %s", path, strings.TrimSpace(string(out)))
	}
	if v, _ := strconv.Atoi(string(m[1])); v < minJava {
		return "", fmt.Errorf("%s is Java %d: the job servers need 11 or newer (17 is tested)", path, v)
	}
	return path, nil
}
