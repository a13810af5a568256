package layers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// shared are settings that others than their section's owner need, each by itself: a source's languages go into how its files are read, the
// length of samples bounds answers, too.
var shared = []string{"Seed", "SequenceLength", "LearningRate", "Translation", "MaxNewTokens"}

// carriers end the names of types that carry single settings to workers or into records: DoFns, headers of shards, manifests, rows of
// tables.
var carriers = []string{"Fn", "Header", "Manifest", "Row", "Meta"}

// carries says whether a struct is such a type.
func carries(t types.Type) bool {
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	n, ok := t.(*types.Named)
	return ok && slices.ContainsFunc(carriers, func(end string) bool { return strings.HasSuffix(n.Obj().Name(), end) })
}

// setting is the name of the setting that an expression takes out of a struct of settings, "" where it takes none: a field with a name in
// its tag yaml.
func setting(e ast.Expr, info *types.Info) string {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok || info.Selections[sel] == nil || info.Selections[sel].Kind() != types.FieldVal {
		return ""
	}
	s := info.Selections[sel]
	at := s.Recv()
	for k, i := range s.Index() {
		if p, ok := at.Underlying().(*types.Pointer); ok {
			at = p.Elem()
		}
		st := at.Underlying().(*types.Struct)
		if k == len(s.Index())-1 {
			name, _, _ := strings.Cut(reflect.StructTag(st.Tag(i)).Get("yaml"), ",")
			if name == "" || name == "-" || reflect.StructTag(st.Tag(i)).Get("help") == "" {
				return ""
			}
			return sel.Sel.Name
		}
		at = st.Field(i).Type()
	}
	return ""
}

// copies lists where a setting is written into a field of the same name of another struct: in a literal, or by an assignment.
func copies(f *ast.File, fset *token.FileSet, info *types.Info) (out []string) {
	found := func(n ast.Node, name string) {
		if name != "" && !slices.Contains(shared, name) {
			p := fset.Position(n.Pos())
			out = append(out, strings.Join([]string{filepath.Base(filepath.Dir(p.Filename)), filepath.Base(p.Filename), name}, " "))
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			for _, e := range n.Elts {
				kv, ok := e.(*ast.KeyValueExpr)
				if !ok || carries(info.TypeOf(n)) {
					break
				}
				if key, ok := kv.Key.(*ast.Ident); ok && setting(kv.Value, info) == key.Name {
					found(kv, key.Name)
				}
			}
		case *ast.AssignStmt:
			if len(n.Lhs) != len(n.Rhs) {
				break
			}
			for i, l := range n.Lhs {
				if to, ok := l.(*ast.SelectorExpr); ok {
					if name := setting(n.Rhs[i], info); name == to.Sel.Name {
						found(n, name)
					}
				}
			}
		}
		return true
	})
	return out
}

// TestNoSettingIsCopied: a struct that needs another's settings holds that struct, and nowhere above the recipe is one copied by hand.
func TestNoSettingIsCopied(t *testing.T) {
	all := parsed(t, module+"/transforms/...", module+"/pipelines/...", module+"/infer", module+"/measure", module+"/export")
	for _, p := range all {
		info := types.Info{Selections: map[*ast.SelectorExpr]*types.Selection{}, Types: map[ast.Expr]types.TypeAndValue{}}
		if _, err := (&types.Config{Importer: p.imp}).Check(p.path, p.fset, p.files, &info); err != nil {
			t.Fatal(err)
		}
		for _, f := range p.files {
			for _, c := range copies(f, p.fset, &info) {
				t.Errorf("%s is copied by hand: embed the struct that has it", c)
			}
		}
	}
	if len(all) < 20 {
		t.Errorf("%d packages", len(all))
	}
}

// TestCopies guards the guard.
func TestCopies(t *testing.T) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p/a.go", "package p\ntype S struct { N int `yaml:\"n\" help:\"x\"`; M int; "+
		"Seed int `yaml:\"s\" help:\"x\"`}\n"+
		"type W struct { S `yaml:\",inline\"` }\ntype T struct { N, M, Seed int }\nfunc f(s *S, w W) (t T) { t.M = s.M; t.N = s.N; "+
		"t.M = s.N; w.S = *s; return T{N: w.N, M: w.M, Seed: w.Seed} }\nfunc g(s S) T { return T{N: s.N} }\n"+
		"type DoFn T\nfunc h(s S) *DoFn { return &DoFn{N: s.N} }", parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	info := types.Info{Selections: map[*ast.SelectorExpr]*types.Selection{}, Types: map[ast.Expr]types.TypeAndValue{}}
	if _, err := (&types.Config{}).Check("p", fset, []*ast.File{f}, &info); err != nil {
		t.Fatal(err)
	}
	if got := copies(f, fset, &info); !slices.Equal(got, []string{"p a.go N", "p a.go N", "p a.go N"}) {
		t.Errorf("%q", got)
	}
}
