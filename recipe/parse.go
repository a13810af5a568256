package recipe

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/adaptflow/adaptflow/internal/nearest"
)

// Layer is what one document says: the sections and keys it has, nothing else.
type Layer map[string]map[string]any

// Parse reads one YAML document strictly. name is how errors call it (a path). An unknown or repeated key, a value of the wrong type
// and a second document are errors that give the line.
func Parse(name string, text []byte) (Layer, error) {
	if err := guard(text); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, plain(err))
	}
	var body ast.Node
	for _, d := range file.Docs {
		if d.Body == nil || d.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			return nil, fmt.Errorf("%s: line %d: a second YAML document; a recipe is one", name, d.Body.GetToken().Position.Line)
		}
		body = d.Body
	}
	if body == nil {
		return nil, fmt.Errorf("%s: the recipe is empty; it has the sections %s", name, strings.Join(sections(), ", "))
	}
	if err := expanded(body); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	former, err := checkKeys(name, body)
	if err != nil {
		return nil, err
	}
	var layer Layer
	wrong := yaml.NodeToValue(body, &layer)
	withoutAuto(body)
	var typed Recipe
	if err := yaml.NodeToValue(body, &typed, yaml.Strict()); err != nil { // which says more of what is wrong
		return nil, fmt.Errorf("%s: %w", name, plain(err))
	}
	if wrong != nil {
		return nil, fmt.Errorf("%s: %w", name, plain(wrong))
	}
	for _, f := range Fields() {
		section, key := split(f.Path)
		if err := whole(f.Path, f.Type, layer[section][key]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	layer.former(former)
	return layer, nil
}

// split takes a dotted path apart.
func split(path string) (section, key string) {
	section, key, _ = strings.Cut(path, ".")
	return section, key
}

// checkKeys compares the keys of the document with the fields of the types. Keys with a former name get that of today, and are returned:
// the former name by path.
func checkKeys(name string, body ast.Node) (former map[string]string, err error) {
	top, err := entries(name, "the recipe", body)
	if err != nil {
		return nil, err
	}
	former = map[string]string{}
	for _, e := range top {
		key, line := e.Key.GetToken().Value, e.Key.GetToken().Position.Line
		i := slices.IndexFunc(table(), func(s section) bool { return s.name == key })
		if i < 0 {
			return nil, unknownAt(name, line, key, sections(), allKeys())
		}
		kids, err := entries(name, key, e.Value)
		if err != nil {
			return nil, err
		}
		if table()[i].fields == nil {
			continue
		}
		for _, k := range kids {
			kk := k.Key.GetToken()
			f := find(key + "." + kk.Value)
			switch {
			case f == nil:
				return nil, unknownAt(name, kk.Position.Line, key+"."+kk.Value, table()[i].paths(), allKeys())
			case f.Name != kk.Value:
				if has(kids, f.Name) {
					return nil, fmt.Errorf("%s: line %d: %w", name, kk.Position.Line, bothNames(key, *f))
				}
				former[f.Path] = kk.Value
				rename(k.Key, f.Name)
			}
		}
	}
	return former, nil
}

func has(kids []*ast.MappingValueNode, key string) bool {
	return slices.ContainsFunc(kids, func(k *ast.MappingValueNode) bool { return k.Key.GetToken().Value == key })
}

// paths are the dotted keys of a section.
func (s *section) paths() (out []string) {
	for _, f := range s.fields {
		out = append(out, s.name+"."+f.Name)
	}
	return out
}

func allKeys() (out []string) {
	for _, f := range Fields() {
		out = append(out, f.Path)
	}
	return out
}

func unknownAt(name string, line int, key string, known, others []string) error {
	last := key[strings.LastIndex(key, ".")+1:]
	for _, o := range others { // the right name in the wrong place
		if strings.HasSuffix(o, "."+last) {
			return fmt.Errorf("%s: line %d: unknown key %q; %s belongs in its section, as %s", name, line, shown(key), last, o)
		}
	}
	near := nearest.Name(key, known)
	return fmt.Errorf("%s: line %d: unknown key %q; the nearest known one is %q", name, line, shown(key), near)
}

// entries returns the pairs of a mapping.
func entries(name, what string, n ast.Node) ([]*ast.MappingValueNode, error) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, nil
	}
	return nil, fmt.Errorf("%s: line %d: %s must be a mapping of keys and values", name, n.GetToken().Position.Line, what)
}

// decode reads a YAML value that is not a whole recipe, such as a setting's.
func decode(text string, dst any) error {
	if err := guard([]byte(text)); err != nil {
		return err
	}
	file, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		return plain(err)
	}
	for _, d := range file.Docs {
		if d.Body == nil || d.Body.Type() == ast.CommentType {
			continue
		}
		if err := expanded(d.Body); err != nil {
			return err
		}
		if err := yaml.NodeToValue(d.Body, dst); err != nil {
			return plain(err)
		}
		break // of several documents the first is the value
	}
	return nil
}

// plain shortens the YAML library's error to one line with its position.
func plain(err error) error {
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		return fmt.Errorf("line %d: %s", y.GetToken().Position.Line, y.GetMessage())
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(first)
}
