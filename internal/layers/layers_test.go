package layers

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/page"
)

const module = "github.com/adaptflow/adaptflow"

const beam = "github.com/apache/beam/"

// testOnly are imports of tests against the order: an adapter's numbers are checked on real models, and a model's answers on the embedded
// one.
var testOnly = map[string]string{"peft": "model", "infer": "templates", "measure": "templates", "serve": "templates",
	"transforms": "templates"}

type listed struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

func top(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, module+"/")
	folder, _, _ := strings.Cut(rest, "/")
	return folder, ok
}

func row(folder string) int {
	return slices.IndexFunc(Rows, func(r []Folder) bool { return slices.ContainsFunc(r, func(f Folder) bool { return f.Name == folder }) })
}

// allowed says whether a package of one top folder may import one of another.
func allowed(from, to string) bool { return from == to || row(to) < row(from) }

func TestImportOrder(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,TestImports,XTestImports,Deps", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.Bytes())
	}
	seen := map[string]bool{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		from, own := top(p.ImportPath)
		if !own {
			continue
		}
		seen[from] = true
		if row(from) < 0 {
			t.Errorf("%s: the folder %s is not in the table of rows", p.ImportPath, from)
			continue
		}
		for _, i := range p.Imports {
			if to, own := top(i); own && !allowed(from, to) {
				t.Errorf("%s imports %s, which is not in a row before its own", p.ImportPath, i)
			}
		}
		for _, i := range slices.Concat(p.TestImports, p.XTestImports) {
			if to, own := top(i); own && !allowed(from, to) && testOnly[from] != to {
				t.Errorf("a test of %s imports %s, which is not in a row before its own", p.ImportPath, i)
			}
		}
		if !slices.Contains(BeamFolders, from) && !slices.Contains(BeamExamples, strings.TrimPrefix(p.ImportPath, module+"/")) {
			for _, d := range p.Deps {
				if strings.HasPrefix(d, beam) {
					t.Errorf("%s depends on %s; only %v know Beam", p.ImportPath, d, BeamFolders)
					break
				}
			}
		}
	}
	for _, r := range Rows {
		for _, f := range r {
			if !seen[f.Name] {
				t.Errorf("no package in %s, which the table names", f.Name)
			}
		}
	}
}

// TestAllowed guards the guard: what the table must refuse.
func TestAllowed(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"peft", "nn", true}, {"nn", "peft", false}, {"peft", "model", false}, {"model", "peft", false},
		{"transforms", "train", true}, {"train", "transforms", false}, {"internal", "kernels", false}, {"transforms", "transforms", true},
	} {
		if allowed(c.from, c.to) != c.want {
			t.Errorf("%s importing %s: allowed %v, want %v", c.from, c.to, !c.want, c.want)
		}
	}
}

// TestPicture: the picture in the document is that of the table.
func TestPicture(t *testing.T) {
	doc, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	out, err := Draw(doc)
	if err != nil {
		t.Fatal(err)
	}
	page.Current(t, "../../docs/architecture.md", "go generate ./internal/layers", out)
}
