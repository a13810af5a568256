package grammar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Object is any JSON object.
func Object() *Grammar { return &Grammar{anything.of[0]} }

const (
	mostNodes   = 20_000 // that a schema becomes
	mostRefs    = 64     // $ref behind $ref
	schemaBytes = 256 << 10
)

// Schema compiles a JSON Schema. What the grammar cannot hold a value to is an error that names it.
func Schema(raw []byte) (*Grammar, error) {
	if len(raw) > schemaBytes {
		return nil, fmt.Errorf("the schema has %d bytes; %d are the most", len(raw), schemaBytes)
	}
	c := &compiler{root: raw, refs: map[string]*node{}}
	n, err := c.node(raw, 0)
	if err != nil {
		return nil, err
	}
	if err := c.finite(n); err != nil {
		return nil, err
	}
	return &Grammar{n}, nil
}

// Calls is a text of one of the grammars, each an object {"name": …, "arguments": …} of a call.
func Calls(names []string, arguments []*Grammar) *Grammar {
	u := &node{kind: kindUnion}
	for i, name := range names {
		u.of = append(u.of, &node{kind: kindObject, props: []prop{
			{keyOf("name"), &node{kind: kindValue, of: []*node{literal(quoted(name))}}, true},
			{keyOf("arguments"), &node{kind: kindValue, of: []*node{arguments[i].root}}, true}}})
	}
	return &Grammar{u}
}

func quoted(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)
	return strings.TrimSpace(b.String())
}

func keyOf(name string) *node { return literal(quoted(name) + ":") }

type compiler struct {
	root  []byte
	refs  map[string]*node // by what they name
	nodes int
}

// known are the keywords that are understood; described are those that say nothing of values.
var (
	known = []string{"type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "minLength", "maxLength",
		"enum",
		"const", "anyOf", "oneOf", "allOf", "$ref", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
	described = []string{"title", "description", "default", "examples", "$schema", "$id", "$defs", "definitions", "$comment", "deprecated",
		"readOnly", "writeOnly", "strict", "format", "nullable"}
)

type member struct {
	name  string
	value jsontext.Value
}

// members are those of an object in their order.
func members(raw []byte) ([]member, error) {
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, errors.New("a schema must be an object")
	}
	var out []member
	for d.PeekKind() != '}' {
		t, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		name := t.String()
		v, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		out = append(out, member{name, v.Clone()})
	}
	return out, nil
}

func (c *compiler) node(raw []byte, depth int) (*node, error) {
	if c.nodes++; c.nodes > mostNodes || depth > mostRefs {
		return nil, errors.New("the schema is too large or too deep")
	}
	switch raw = bytes.TrimSpace(raw); string(raw) {
	case "true":
		return &node{kind: kindAny}, nil
	case "false":
		return nil, errors.New("the schema allows nothing")
	}
	list, err := members(raw)
	if err != nil {
		return nil, err
	}
	m := map[string]jsontext.Value{}
	for _, e := range list {
		if !slices.Contains(known, e.name) && !slices.Contains(described, e.name) {
			return nil, fmt.Errorf("the keyword %q is not supported", e.name)
		}
		m[e.name] = e.value
	}
	switch {
	case m["$ref"] != nil:
		return c.ref(m["$ref"], depth)
	case m["const"] != nil:
		return c.literals([]json.RawMessage{json.RawMessage(m["const"])})
	case m["enum"] != nil:
		var values []json.RawMessage
		if err := json.Unmarshal(m["enum"], &values); err != nil || len(values) == 0 {
			return nil, errors.New("enum must be a list that is not empty")
		}
		return c.literals(values)
	}
	for _, k := range []string{"anyOf", "oneOf", "allOf"} {
		if m[k] != nil {
			return c.union(k, m, depth)
		}
	}
	return c.typed(m, depth)
}

// literals are values that are given.
func (c *compiler) literals(values []json.RawMessage) (*node, error) {
	u := &node{kind: kindUnion}
	for _, v := range values {
		text := jsontext.Value(bytes.Clone(v))
		if err := text.Compact(); err != nil {
			return nil, err
		}
		c.nodes++
		u.of = append(u.of, literal(string(text)))
	}
	return u, nil
}

func (c *compiler) union(name string, m map[string]jsontext.Value, depth int) (*node, error) {
	for k := range m {
		if k != name && !slices.Contains(described, k) && !(k == "type") {
			return nil, fmt.Errorf("%q beside %q is not supported", k, name)
		}
	}
	var list []jsontext.Value
	if err := json.Unmarshal(m[name], &list); err != nil || len(list) == 0 {
		return nil, fmt.Errorf("%s must be a list that is not empty", name)
	}
	if name == "allOf" && len(list) > 1 {
		return nil, errors.New("allOf of several schemas is not supported")
	}
	u := &node{kind: kindUnion}
	for _, v := range list {
		n, err := c.node(v, depth+1)
		if err != nil {
			return nil, err
		}
		u.of = append(u.of, n)
	}
	return u, nil
}

// ref is what a pointer into the schema names.
func (c *compiler) ref(raw []byte, depth int) (*node, error) {
	var to string
	if err := json.Unmarshal(raw, &to); err != nil || to != "#" && !strings.HasPrefix(to, "#/") {
		return nil, fmt.Errorf("$ref %s: it must point into the schema", raw)
	}
	if n := c.refs[to]; n != nil {
		return n, nil
	}
	at := jsontext.Value(c.root)
	for _, part := range strings.Split(to, "/")[1:] {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		list, err := members(at)
		i := slices.IndexFunc(list, func(m member) bool { return m.name == part })
		if err != nil || i < 0 {
			return nil, fmt.Errorf("$ref %s leads to nothing", to)
		}
		at = list[i].value
	}
	n := &node{kind: kindUnion} // which may be part of itself
	c.refs[to] = n
	in, err := c.node(at, depth+1)
	if err != nil {
		return nil, err
	}
	n.of = []*node{in}
	return n, nil
}

func (c *compiler) typed(m map[string]jsontext.Value, depth int) (*node, error) {
	var types []string
	if raw := m["type"]; raw != nil && raw[0] == '[' {
		if err := json.Unmarshal(raw, &types); err != nil || len(types) == 0 {
			return nil, errors.New("type must name types")
		}
	} else if raw != nil {
		types = []string{""}
		if err := json.Unmarshal(raw, &types[0]); err != nil {
			return nil, errors.New("type must name types")
		}
	} else {
		switch {
		case m["properties"] != nil:
			types = []string{"object"}
		case m["items"] != nil:
			types = []string{"array"}
		default:
			if k, ok := bounded(m); ok {
				return nil, fmt.Errorf("the keyword %q is only supported beside the type integer", k)
			}
			return &node{kind: kindAny}, nil
		}
	}
	u := &node{kind: kindUnion}
	for _, t := range types {
		n, err := c.one(t, m, depth)
		if err != nil {
			return nil, err
		}
		u.of = append(u.of, n)
	}
	return u, nil
}

func (c *compiler) one(t string, m map[string]jsontext.Value, depth int) (*node, error) {
	n := &node{max: -1}
	var err error
	bound := func(k string, to *int) {
		if raw := m[k]; raw != nil && err == nil {
			if e := json.Unmarshal(raw, to); e != nil || *to < 0 || *to > 1<<20 {
				err = fmt.Errorf("%s must be a whole number that is not negative", k)
			}
		}
	}
	switch t {
	case "null", "boolean":
		if t == "null" {
			return literal("null"), nil
		}
		return &node{kind: kindUnion, of: []*node{literal("true"), literal("false")}}, nil
	case "number", "integer":
		if k, ok := bounded(m); ok && t == "number" {
			return nil, fmt.Errorf("the keyword %q is only supported beside the type integer", k)
		} else if ok {
			return whole(m)
		}
		n.kind, n.integer = kindNumber, t == "integer"
	case "string":
		n.kind = kindString
		bound("minLength", &n.min)
		bound("maxLength", &n.max)
	case "array":
		n.kind = kindArray
		bound("minItems", &n.min)
		bound("maxItems", &n.max)
		items := m["items"]
		if items == nil {
			items = jsontext.Value("true")
		}
		if err == nil {
			var in *node
			in, err = c.node(items, depth+1)
			n.of = []*node{in}
		}
	case "object":
		return c.object(m, depth)
	default:
		return nil, fmt.Errorf("the type %q is not supported", t)
	}
	if n.max >= 0 && n.min > n.max {
		return nil, errors.New("a least length is larger than the largest")
	}
	return n, err
}

func (c *compiler) object(m map[string]jsontext.Value, depth int) (*node, error) {
	n := &node{kind: kindObject}
	var required []string
	if raw := m["required"]; raw != nil {
		if err := json.Unmarshal(raw, &required); err != nil {
			return nil, errors.New("required must be a list of names")
		}
	}
	var list []member
	if raw := m["properties"]; raw != nil {
		var err error
		if list, err = members(raw); err != nil {
			return nil, errors.New("properties must be an object")
		}
	}
	for _, p := range list {
		v, err := c.node(p.value, depth+1)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		n.props = append(n.props, prop{keyOf(p.name), &node{kind: kindValue, of: []*node{v}}, slices.Contains(required, p.name)})
	}
	for _, r := range required {
		if !slices.ContainsFunc(list, func(p member) bool { return p.name == r }) {
			return nil, fmt.Errorf("%q is required and is none of the properties", r)
		}
	}
	if other := m["additionalProperties"]; len(list) == 0 && string(other) != "false" {
		if other == nil {
			other = jsontext.Value("true")
		}
		v, err := c.node(other, depth+1)
		if err != nil {
			return nil, err
		}
		n.other = &node{kind: kindValue, of: []*node{v}}
	}
	return n, nil
}

// finite refuses schemas of which no value ends: such that need themselves.
func (c *compiler) finite(root *node) error {
	ends := map[*node]bool{}
	seen := map[*node]bool{}
	var all []*node
	var walk func(n *node)
	walk = func(n *node) {
		if n == nil || seen[n] {
			return
		}
		seen[n] = true
		all = append(all, n)
		for _, o := range n.of {
			walk(o)
		}
		for _, p := range n.props {
			walk(p.value)
		}
		walk(n.other)
	}
	walk(root)
	for more := true; more; {
		more = false
		for _, n := range all {
			if ends[n] {
				continue
			}
			ok := true
			switch n.kind {
			case kindUnion:
				ok = slices.ContainsFunc(n.of, func(o *node) bool { return ends[o] })
			case kindValue:
				ok = ends[n.of[0]]
			case kindArray:
				ok = n.min == 0 || ends[n.of[0]]
			case kindObject:
				ok = !slices.ContainsFunc(n.props, func(p prop) bool { return p.required && !ends[p.value] })
			}
			if ok {
				ends[n], more = true, true
			}
		}
	}
	if !ends[root] {
		return errors.New("no value of the schema ends")
	}
	return c.direct(all)
}

// direct refuses schemas that are themselves before any byte, as {"$ref": "#"}.
func (c *compiler) direct(all []*node) error {
	state := map[*node]int{}
	var walk func(n *node) bool
	walk = func(n *node) bool {
		if n.kind != kindUnion || state[n] == 2 {
			return true
		}
		if state[n] == 1 {
			return false
		}
		state[n] = 1
		for _, o := range n.of {
			if !walk(o) {
				return false
			}
		}
		state[n] = 2
		return true
	}
	for _, n := range all {
		if !walk(n) {
			return errors.New("the schema refers to itself alone")
		}
	}
	return nil
}
