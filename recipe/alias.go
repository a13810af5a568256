package recipe

import (
	"fmt"
	"maps"

	"github.com/goccy/go-yaml/ast"
)

// renamed gives the keys of a layer the names that they have now, with a warning of each that has a former one.
func (l Layer) renamed() (out Layer, warnings []string, err error) {
	out = l
	for _, f := range Fields() {
		section, name := split(f.Path)
		v, old := l[section][f.Alias]
		if f.Alias == "" || !old {
			continue
		}
		if _, both := l[section][name]; both {
			return nil, nil, bothNames(section, f)
		}
		if len(warnings) == 0 {
			out = maps.Clone(l)
		}
		kv := maps.Clone(out[section])
		delete(kv, f.Alias)
		kv[name] = v
		out[section] = kv
		warnings = append(warnings, fmt.Sprintf("%s.%s is now called %s; the former name will go", section, f.Alias, f.Path))
	}
	return out, warnings, nil
}

// former gives the keys of a layer back the former names that its document has, by path.
func (l Layer) former(names map[string]string) {
	for path, alias := range names {
		section, name := split(path)
		l[section][alias] = l[section][name]
		delete(l[section], name)
	}
}

func bothNames(section string, f Field) error {
	return fmt.Errorf("%s.%s is the former name of %s, and both are set: leave the former out", section, f.Alias, f.Path)
}

// rename gives a document's key another name.
func rename(key ast.MapKeyNode, name string) {
	key.GetToken().Value = name
	if s, ok := key.(*ast.StringNode); ok {
		s.Value = name
	}
}
