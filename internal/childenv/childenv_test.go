package childenv

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain is the probe: a child of the tests prints its environment.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "print-environment" {
		for _, v := range os.Environ() {
			fmt.Println(v)
		}
		return
	}
	os.Exit(m.Run())
}

// secrets are variables that no child gets unasked.
var secrets = []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
	"AWS_SESSION_TOKEN", "AWS_PROFILE",
	"GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_API_KEY", "CLOUDSDK_AUTH_ACCESS_TOKEN", "GOAUTH", "GOPROXY", "GITHUB_TOKEN",
	"OPENAI_API_KEY", "WANDB_API_KEY",
	"DATABASE_URL", "SSH_AUTH_SOCK", "HTTPS_PROXY", "https_proxy", "PGPASSWORD", "PATHS", "HOMEBREW_GITHUB_API_TOKEN", "LANGSMITH_API_KEY",
	"JAVASCRIPT_TOKEN"}

// child runs the probe with a set, and returns what it has.
func child(t *testing.T, s Set) map[string]string {
	t.Helper()
	for _, name := range secrets {
		t.Setenv(name, "secret-of-"+name)
	}
	for _, name := range []string{"ADAPTFLOW_CACHE", "GOMEMLIMIT", "GOMAXPROCS", "BEAM_WORKER_POOL_ID", "JAVA_HOME", "XDG_CACHE_HOME",
		"LC_ALL", "LANG", "TMPDIR", "TZ"} {
		t.Setenv(name, os.Getenv(name))
	}
	t.Setenv("GOMEMLIMIT", "7GiB")
	t.Setenv("GOMAXPROCS", "1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.Command(context.Background(), self, "print-environment").Output()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, l := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		name, value, _ := strings.Cut(l, "=")
		out[name] = value
	}
	return out
}

func TestAChildGetsWhatItNeedsAndNoSecret(t *testing.T) {
	got := child(t, Set{})
	for _, name := range secrets {
		if v, ok := got[name]; ok {
			t.Errorf("a child has %s=%s", name, v)
		}
	}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "GOMEMLIMIT", "GOMAXPROCS", "BEAM_WORKER_POOL_ID",
		"JAVA_HOME", "XDG_CACHE_HOME", "ADAPTFLOW_CACHE"} {
		if v, ok := got[name]; !ok || v != os.Getenv(name) {
			t.Errorf("a child has %s=%q, want %q", name, v, os.Getenv(name))
		}
	}
}

func TestASchemeBringsItsOwnVariablesAlone(t *testing.T) {
	for scheme, want := range map[string][]string{
		"s3":   {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "HTTPS_PROXY", "https_proxy"},
		"gs":   {"GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_API_KEY", "CLOUDSDK_AUTH_ACCESS_TOKEN", "HTTPS_PROXY", "https_proxy"},
		"file": nil,
	} {
		got := child(t, Set{Schemes: []string{scheme}})
		for _, name := range secrets {
			if _, ok := got[name]; ok != slices.Contains(want, name) {
				t.Errorf("%s: a child has %s: %v", scheme, name, ok)
			}
		}
	}
}

func TestMoreVariables(t *testing.T) {
	s := Set{More: []string{"HF_TOKEN", "MY_SETTING=a=b", "PATH=/elsewhere"}}
	got := child(t, s)
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	if got["HF_TOKEN"] != "secret-of-HF_TOKEN" || got["MY_SETTING"] != "a=b" || got["PATH"] != "/elsewhere" || got["GITHUB_TOKEN"] != "" {
		t.Errorf("%v", got)
	}
	for _, more := range []string{"", "=x", "A B=1", "NOT_THERE_AT_ALL", "A=\x00"} {
		if err := (Set{More: []string{more}}).Check(); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", more, err)
		}
	}
}

func TestWhatIsSentToWorkers(t *testing.T) {
	environ := []string{"PATH=/bin", "HOME=/root", "HF_TOKEN=x", "AWS_SECRET_ACCESS_KEY=y", "GOOGLE_API_KEY=z", "GOAUTH=netrc",
		"ADAPTFLOW_KERNELS=plain", "GOGC=50", "TOKEN=t"}
	for _, c := range []struct {
		set  Set
		want string
	}{
		{Set{}, "map[ADAPTFLOW_KERNELS:plain GOGC:50] map[]"},
		{Set{Schemes: []string{"s3"}}, "map[ADAPTFLOW_KERNELS:plain GOGC:50] map[AWS_SECRET_ACCESS_KEY:y]"},
		{Set{More: []string{"TOKEN", "GOGC=20"}}, "map[ADAPTFLOW_KERNELS:plain GOGC:20] map[TOKEN:t]"},
	} {
		if got := fmt.Sprint(c.set.Sent(environ)); got != c.want {
			t.Errorf("%+v: %s, want %s", c.set, got, c.want)
		}
	}
}

// TestEveryChildIsStartedHere holds the product to this package: nothing else in it starts a process.
func TestEveryChildIsStartedHere(t *testing.T) {
	root := filepath.Join("..", "..")
	if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if rel = filepath.ToSlash(rel); d.IsDir() {
			if rel == "interop" || rel == "internal/childenv" || rel == "internal/pasted" || // which runs go test, in tests
				strings.HasPrefix(d.Name(), "_") || d.Name() == "testdata" ||
				strings.HasPrefix(d.Name(), ".") && rel != ".." && rel != "." {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok {
					switch x.Name + "." + sel.Sel.Name {
					case "exec.Command", "exec.CommandContext", "os.StartProcess", "syscall.Exec", "syscall.ForkExec", "unix.Exec":
						t.Errorf("%s starts a process: take childenv.Command", set.Position(n.Pos()))
					}
				}
			}
			return true
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
