package rules

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/adaptflow/adaptflow/internal/settings"
)

// Named takes the name out of what is said of a rule, where it is the key "rule".
func Named(said map[string]any, what string) (string, map[string]any, error) {
	name, ok := said["rule"].(string)
	if !ok {
		return "", nil, fmt.Errorf("a %s has no name: write - rule: NAME, with its settings beside", what)
	}
	rest := maps.Clone(said)
	delete(rest, "rule")
	return name, rest, nil
}

// Unknown is the error of a name that is not among the known ones.
func Unknown(what, name string, known []string) error {
	return fmt.Errorf("%s %q is unknown; it is one of %v", what, name, known)
}

// Decode makes a rule of its settings, whose key "rule" is the rule's name, over its published defaults; it is prepared, but has no tools
// yet: see [User]. An unknown key is an error.
func Decode(said map[string]any) (Rule, error) {
	r, err := decode(said)
	if err != nil {
		return nil, err
	}
	return r, r.Prepare()
}

// decode is Decode of a rule that is not prepared.
func decode(said map[string]any) (Rule, error) {
	name, rest, err := Named(said, "cleaning rule")
	if err != nil {
		return nil, err
	}
	e, err := Find(name)
	if err != nil {
		return nil, err
	}
	r := e.New()
	if err := settings.Strict(rest, r, name); err != nil {
		return nil, err
	}
	return r, nil
}

// DecodeChain makes the rules of a JSON array of settings, ready to be applied, with the tools that they need.
func DecodeChain(text string, tools Tools) ([]Rule, error) {
	var all []map[string]any
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		return nil, fmt.Errorf("cleaning rules: %w", err)
	}
	out := make([]Rule, 0, len(all))
	for _, s := range all {
		r, err := Decode(s)
		if err != nil {
			return nil, err
		}
		if u, ok := r.(User); ok {
			if err := u.Use(tools); err != nil {
				return nil, err
			}
		}
		if p, ok := r.(*Profile); ok {
			out = append(out, p.Rules()...)
		} else {
			out = append(out, r)
		}
	}
	return out, nil
}

// UnmarshalJSON reads [n, fraction], the reference's form, or {"n": n, "fraction": fraction}.
func (l *NGramLimit) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("[")) {
		var v []float64
		if err := json.Unmarshal(b, &v); err != nil {
			return err
		}
		if len(v) != 2 || v[0] != float64(int(v[0])) {
			return fmt.Errorf("%s is not [n, fraction]", b)
		}
		l.N, l.Fraction = int(v[0]), v[1]
		return nil
	}
	type plain NGramLimit
	return json.Unmarshal(b, (*plain)(l))
}
