package recipe

import (
	"bytes"
	"fmt"

	"github.com/goccy/go-yaml/ast"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// What a YAML text may have. A recipe has a fraction of each; the parser's time and stack grow with the square of the nesting, and what
// aliases stand for with its exponent.
const (
	maxDepth = 100     // nested mappings and lists
	maxNodes = 100_000 // values, an alias counted as what it stands for
	maxMarks = 64      // anchors, tags, "-" and "?" one after another
)

// guard refuses a text that would take the parser out of proportion, before it is parsed. It counts brackets wherever they stand, in
// strings too.
func guard(text []byte) error {
	if n := int64(len(text)); n > storage.KindRecipe.Max {
		return fmt.Errorf("it has %s, and YAML may have %s here", storage.Size(n), storage.Size(storage.KindRecipe.Max))
	}
	open, line := 0, 0
	var columns []int // of the lines around this one, each further right than the one before
	for raw := range bytes.Lines(text) {
		line++
		s := bytes.TrimLeft(raw, " \t")
		column := len(raw) - len(s)
		if s = bytes.TrimRight(s, "\r\n"); len(s) > 0 && s[0] != '#' {
			for len(columns) > 0 && columns[len(columns)-1] >= column {
				columns = columns[:len(columns)-1]
			}
			columns = append(columns, column)
		}
		marks, deep := marks(s), open
		for _, c := range s {
			switch c {
			case '[', '{':
				open++
				deep = max(deep, open)
			case ']', '}':
				open = max(0, open-1)
			}
		}
		if marks > maxMarks || deep+marks+len(columns) > maxDepth {
			return fmt.Errorf("line %d: nested more than %d deep, or more than %d marks in a row; a recipe is not", line, maxDepth,
				maxMarks)
		}
	}
	return nil
}

// marks is the most anchors, tags and signs of lists and keys ("&a", "!!map", "-", "?") that stand one after another.
func marks(line []byte) (most int) {
	n := 0
	for word := range bytes.FieldsSeq(line) {
		if len(word) == 1 && (word[0] == '-' || word[0] == '?' || word[0] == ':') || word[0] == '&' || word[0] == '!' {
			n++
			most = max(most, n)
		} else {
			n = 0
		}
	}
	return most
}

// expanded counts the values of a parsed text, an alias as what it stands for, and refuses too many.
func expanded(body ast.Node) error {
	sizes := map[string]int{}
	var count func(n ast.Node) (int, error)
	count = func(n ast.Node) (int, error) {
		var kids []ast.Node
		switch n := n.(type) {
		case nil:
			return 0, nil
		case *ast.MappingNode:
			for _, v := range n.Values {
				kids = append(kids, v)
			}
		case *ast.MappingValueNode:
			kids = []ast.Node{n.Key, n.Value}
		case *ast.MappingKeyNode:
			kids = []ast.Node{n.Value}
		case *ast.SequenceNode:
			kids = n.Values
		case *ast.TagNode:
			kids = []ast.Node{n.Value}
		case *ast.AnchorNode:
			name := n.Name.GetToken().Value
			delete(sizes, name) // an alias inside would stand for itself
			size, err := count(n.Value)
			sizes[name] = size
			return size, err
		case *ast.AliasNode:
			size, ok := sizes[n.Value.GetToken().Value]
			if !ok {
				return 0, fmt.Errorf("line %d: the alias *%s has no anchor before it", n.GetToken().Position.Line, n.Value.GetToken().Value)
			}
			return size, nil
		}
		sum := 1
		for _, k := range kids {
			size, err := count(k)
			if err != nil {
				return 0, err
			}
			if sum += size; sum > maxNodes {
				return 0, fmt.Errorf("line %d: more than %d values, aliases counted as what they stand for; a recipe has fewer",
					n.GetToken().Position.Line, maxNodes)
			}
		}
		return sum, nil
	}
	_, err := count(body)
	return err
}
