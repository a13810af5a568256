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
	name := e.Name + "/SHA256SUMS"
	raw, err := pinned.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return parseSums(name, raw)
}

// parseSums reads the lines of sha256sum's.
func parseSums(name string, raw []byte) (map[string]string, error) {
	out := map[string]string{}
	for s := bufio.NewScanner(bytes.NewReader(raw)); s.Scan(); {
		sum, jar, ok := strings.Cut(s.Text(), "  ")
		if !ok || len(sum) != 2*sha256.Size {
			return nil, fmt.Errorf("%s: no line of sha256sum's: %q", name, s.Text())
		}
		out[jar] = sum
	}
	return out, nil
}

// unstaged is a part of a path whose jars Beam's job server does not send to a cluster with every job (PipelineResources.isStageable leaves
// out what Gradle starts itself with). Every process of a cluster has them in its class path, and 152 MB a job would be copied to each.
const unstaged = "gradle/wrapper"

// kit is what a job server of certain versions is made of, and where it lies in the cache: in a folder of its own, known by all that
// stands in the pom.
type kit struct {
	versions Versions
	series   series
	pom      []byte
	dir      string
	lock     string            // of other versions than the pinned ones: the file of their checksums, beside dir
	sums     map[string]string // those of the jars; nil where the first fetch is to tell them
}

// kit returns what versions are made of.
func (e Engine) kit(v Versions) (k kit, err error) {
	if k.versions, k.series, err = e.resolve(v); err != nil {
		return k, err
	}
	if k.pom, err = e.pom(k.versions, k.series); err != nil {
		return k, err
	}
	cache, err := storage.CacheDir()
	if err != nil {
		return k, err
	}
	key := sha256.Sum256(k.pom)
	at := filepath.Join(cache, "jobserver", "jars", unstaged)
	if k.versions == e.Pinned { // where earlier versions of adaptflow have put them
		k.dir = filepath.Join(at, e.Name+"-"+hex.EncodeToString(key[:6]))
		k.sums, err = e.sums()
		return k, err
	}
	k.dir = filepath.Join(at, fmt.Sprintf("%s-%s-beam-%s-%x", e.Name, k.versions.Engine, k.versions.Beam, key[:6]))
	k.lock = k.dir + ".sha256"
	k.sums, err = readLock(k.lock)
	return k, err
}

// jars returns the folder of the jars of versions in the cache, having filled it with Maven where it is not there, and checks every jar:
// those of the pinned versions against the program's checksums, others against those that their first fetch left.
func (e Engine) jars(ctx context.Context, env childenv.Set, v Versions, say func(string, ...any)) (string, error) {
	k, err := e.kit(v)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(k.dir); errors.Is(err, fs.ErrNotExist) {
		return k.dir, e.fetch(ctx, env, k, say)
	} else if err != nil {
		return "", err
	}
	if k.sums == nil {
		return "", fmt.Errorf("there are no checksums of %s, which were in %s; delete the folder, and it is fetched again", k.dir, k.lock)
	}
	if err := verify(k.dir, k.sums); err != nil {
		return "", fmt.Errorf("%w; delete %s, and it is fetched again", err, k.dir)
	}
	return k.dir, nil
}

// fetch fills the folder of a kit.
func (e Engine) fetch(ctx context.Context, env childenv.Set, k kit, say func(string, ...any)) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return errors.New("mvn is not in the path: install Apache Maven 3.6 or newer; it fetches the job server's jars, once")
	}
	if err := storage.MkdirAll(filepath.Dir(k.dir)); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(k.dir), ".fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.WriteFile(filepath.Join(tmp, "pom.xml"), k.pom, 0o644); err != nil {
		return err
	}
	lib := filepath.Join(tmp, "lib")
	args := []string{"-q", "-B", resolver, "-DoutputDirectory=" + lib, "-DincludeScope=runtime"}
	if k.lock == "" {
		say("fetching the %d jars of the %s job server with Maven, once (150 to 350 MB)", len(k.sums), e.Title)
	} else {
		say("fetching the jars of the %s job server, %s, with Maven, once (150 to 350 MB). Their checksums are not part of adaptflow: "+
			"Maven compares with the repository's, and later starts with those in %s", e.Title, e.says(k.versions), k.lock)
		args = append(args, "-C", "-U") // a wrong checksum is an error; what was missing once is asked for again
	}
	env.More = append(slices.Clone(mavens), env.More...)
	cmd := env.Command(ctx, mvn, args...)
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		text := firstError(out)
		if what, where := missing(text); what != "" {
			return fmt.Errorf("%s needs %s, which Maven did not find%s: give versions that its repositories have; the pinned ones are %s",
				e.says(k.versions), what, where, e.says(e.Pinned))
		}
		return fmt.Errorf("mvn could not fetch the %s job server: %w: %s", e.Title, err, text)
	}
	if k.sums != nil {
		err = verify(lib, k.sums)
	} else if k.sums, err = e.inspect(lib, k); err == nil {
		err = writeLock(k.lock, k.sums)
	}
	if err != nil {
		return fmt.Errorf("what Maven fetched is not what was asked for: %w", err)
	}
	if err := os.Chmod(lib, 0o700); err != nil { // Maven takes the umask, which may let others write there
		return err
	}
	if err := os.Rename(lib, k.dir); err != nil && verify(k.dir, k.sums) != nil { // unless another process was faster
		return err
	}
	return nil
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
