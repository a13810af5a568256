package layers

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mostKnotted is the largest knot that a package of pipelines/ may have: files of which each uses, directly or by others of them, symbols
// of every other.
const mostKnotted = 4

// compiled is a package as go list -export has it.
type compiled struct {
	ImportPath, Dir, Export string
	GoFiles, Imports        []string
	DepOnly                 bool
}

// export lists the packages of patterns and what they import, each with the file of its compiled types.
func export(t *testing.T, patterns ...string) []compiled {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,Imports,DepOnly"},
		patterns...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.Bytes())
	}
	var all []compiled
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p compiled
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// sources are the files of a package, to be checked with the types of what it imports.
type sources struct {
	path  string
	files []*ast.File
	fset  *token.FileSet
	imp   types.Importer
}

// parsed reads the packages of patterns.
func parsed(t *testing.T, patterns ...string) (out []sources) {
	t.Helper()
	all := export(t, patterns...)
	byPath := map[string]string{}
	for _, p := range all {
		byPath[p.ImportPath] = p.Export
	}
	fset := token.NewFileSet()
	imp := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(byPath[path]) })
	for _, p := range all {
		if p.DepOnly {
			continue
		}
		s := sources{path: p.ImportPath, fset: fset, imp: imp}
		for _, f := range p.GoFiles {
			a, err := parser.ParseFile(fset, filepath.Join(p.Dir, f), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			s.files = append(s.files, a)
		}
		out = append(out, s)
	}
	return out
}

// uses says, for each file of a package, of which other files it uses symbols, and which: constants, variables, types, functions, fields
// and methods.
func uses(path string, files []*ast.File, fset *token.FileSet, imp types.Importer) (map[string]map[string][]string, error) {
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	pkg, err := (&types.Config{Importer: imp}).Check(path, fset, files, &info)
	if err != nil {
		return nil, err
	}
	file := func(p token.Pos) string { return filepath.Base(fset.Position(p).Filename) }
	out := map[string]map[string][]string{}
	for _, f := range files {
		out[file(f.Package)] = map[string][]string{}
	}
	for id, obj := range info.Uses {
		if _, name := obj.(*types.PkgName); name || obj.Pkg() != pkg { // the name of an import belongs to its file
			continue
		}
		if from, to := file(id.Pos()), file(obj.Pos()); from != to && !slices.Contains(out[from][to], obj.Name()) {
			out[from][to] = append(out[from][to], obj.Name())
		}
	}
	return out, nil
}

// knots are the strongly connected components of more than one file, the largest first (Tarjan 1972).
func knots(edges map[string]map[string][]string) (out [][]string) {
	index, low, on := map[string]int{}, map[string]int{}, map[string]bool{}
	var stack []string
	var visit func(f string)
	visit = func(f string) {
		index[f] = len(index) + 1
		low[f], on[f] = index[f], true
		stack = append(stack, f)
		for _, to := range slices.Sorted(maps.Keys(edges[f])) {
			if index[to] == 0 {
				visit(to)
				low[f] = min(low[f], low[to])
			} else if on[to] {
				low[f] = min(low[f], index[to])
			}
		}
		if low[f] != index[f] {
			return
		}
		i := slices.Index(stack, f)
		knot := slices.Clone(stack[i:])
		for _, x := range knot {
			on[x] = false
		}
		if stack = stack[:i]; len(knot) > 1 {
			slices.Sort(knot)
			out = append(out, knot)
		}
	}
	for _, f := range slices.Sorted(maps.Keys(edges)) {
		if index[f] == 0 {
			visit(f)
		}
	}
	slices.SortStableFunc(out, func(a, b []string) int { return cmp.Compare(len(b), len(a)) })
	return out
}

// inside says which symbols tie a knot.
func inside(knot []string, edges map[string]map[string][]string) string {
	var b strings.Builder
	for _, from := range knot {
		for _, to := range knot {
			if symbols := edges[from][to]; len(symbols) > 0 {
				slices.Sort(symbols)
				fmt.Fprintf(&b, "\n\t%s uses %s of %s", from, strings.Join(symbols, ", "), to)
			}
		}
	}
	return b.String()
}

// TestKnots: no files of a package of pipelines/ are knotted together beyond mostKnotted. With -v it prints the largest knot of each
// package, and with ADAPTFLOW_KNOTS=1 the symbols that tie it.
func TestKnots(t *testing.T) {
	all := parsed(t, module+"/pipelines/...")
	for _, p := range all {
		edges, err := uses(p.path, p.files, p.fset, p.imp)
		if err != nil {
			t.Fatalf("%s: %v", p.path, err)
		}
		ks := knots(edges)
		name := strings.TrimPrefix(p.path, module+"/")
		if len(ks) == 0 {
			t.Logf("%-32s %2d files, no knot", name, len(p.files))
			continue
		}
		t.Logf("%-32s %2d files, the largest knot has %d: %s", name, len(p.files), len(ks[0]), strings.Join(ks[0], " "))
		for _, k := range ks {
			if os.Getenv("ADAPTFLOW_KNOTS") != "" {
				t.Log(inside(k, edges))
			}
			if len(k) > mostKnotted {
				t.Errorf("%s: %d files are knotted, and %d may be: %s%s", name, len(k), mostKnotted, strings.Join(k, " "), inside(k, edges))
			}
		}
	}
	if len(all) == 0 {
		t.Error("no package in pipelines/")
	}
}

// TestUses guards the guard: a type, a field, a method and a function of another file are uses, what is in the own file or of another
// package is none.
func TestUses(t *testing.T) {
	fset := token.NewFileSet()
	var files []*ast.File
	for name, text := range map[string]string{
		"a.go": "package p\nimport \"io\"\ntype T struct{ N int }\nfunc (T) M() {}\nfunc f(io.Reader) {}\nfunc own() { f(nil) }",
		"b.go": "package p\nfunc g(t T) int { t.M(); return t.N }",
		"c.go": "package p\nfunc (T) C() { f(nil); b() }\nfunc b() {}",
		"d.go": "package p\nfunc (t T) D() { t.E() }",
		"e.go": "package p\nfunc (t T) E() { t.D() }",
	} {
		a, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, a)
	}
	edges, err := uses("p", files, fset, importer.ForCompiler(fset, "source", nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range edges {
		for _, s := range m {
			slices.Sort(s)
		}
	}
	want := map[string]map[string][]string{"a.go": {}, "b.go": {"a.go": {"M", "N", "T"}}, "c.go": {"a.go": {"T", "f"}},
		"d.go": {"a.go": {"T"}, "e.go": {"E"}}, "e.go": {"a.go": {"T"}, "d.go": {"D"}}}
	if fmt.Sprint(edges) != fmt.Sprint(want) {
		t.Errorf("uses are %v, want %v", edges, want)
	}
	if ks := knots(edges); len(ks) != 1 || !slices.Equal(ks[0], []string{"d.go", "e.go"}) {
		t.Errorf("knots are %v, want d.go and e.go", ks)
	}
}
