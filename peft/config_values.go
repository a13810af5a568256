package peft

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Names is a list of module names, one regular expression, or nothing.
type Names struct {
	Pattern string
	List    []string
}

// Set says whether there is a list or a pattern.
func (n Names) Set() bool { return n.Pattern != "" || n.List != nil }

// MarshalJSON writes a string, a list or null.
func (n Names) MarshalJSON() ([]byte, error) {
	if n.Pattern != "" {
		return encode(n.Pattern, ""), nil
	}
	return encode(n.List, ""), nil
}

// UnmarshalJSON reads a string, a list or null.
func (n *Names) UnmarshalJSON(b []byte) error {
	*n = Names{}
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &n.Pattern)
	}
	if err := json.Unmarshal(b, &n.List); err != nil {
		return fmt.Errorf("want a string or a list of strings")
	}
	return nil
}

// Ints is a list of integers, one integer, or nothing.
type Ints struct {
	One  bool // written as a single integer
	List []int
}

// MarshalJSON writes an integer, a list or null.
func (n Ints) MarshalJSON() ([]byte, error) {
	if n.One {
		return encode(n.List[0], ""), nil
	}
	return encode(n.List, ""), nil
}

// UnmarshalJSON reads an integer, a list or null.
func (n *Ints) UnmarshalJSON(b []byte) error {
	*n = Ints{}
	var one int
	if string(b) != "null" && json.Unmarshal(b, &one) == nil {
		*n = Ints{One: true, List: []int{one}}
		return nil
	}
	if err := json.Unmarshal(b, &n.List); err != nil {
		return fmt.Errorf("want an integer or a list of integers")
	}
	return nil
}

// Float is a number that is written with a decimal point, as Python writes a float.
type Float float64

// MarshalJSON writes 0 as 0.0.
func (f Float) MarshalJSON() ([]byte, error) {
	s := strconv.FormatFloat(float64(f), 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return []byte(s), nil
}

// Pattern is one entry of a rank_pattern or alpha_pattern.
type Pattern struct {
	Key   string
	Value float64
}

// Patterns are the entries in the order of the file, in which HF tries them.
type Patterns []Pattern

// MarshalJSON writes an object, keys sorted as HF writes them.
func (p Patterns) MarshalJSON() ([]byte, error) {
	m := map[string]float64{}
	for _, e := range p {
		m[e.Key] = e.Value
	}
	return encode(m, ""), nil
}

// UnmarshalJSON reads an object of numbers, or null.
func (p *Patterns) UnmarshalJSON(b []byte) error {
	*p = nil
	d := json.NewDecoder(bytes.NewReader(b))
	t, err := d.Token()
	if err != nil || t == nil {
		return err
	}
	if t != json.Delim('{') {
		return fmt.Errorf("want an object of module names and numbers")
	}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return err
		}
		e := Pattern{Key: k.(string)}
		if err := d.Decode(&e.Value); err != nil {
			return fmt.Errorf("%q: %w", e.Key, err)
		}
		*p = append(*p, e)
	}
	return nil
}

// Tokens are the trainable rows of embeddings: a list for the input embedding, or lists by module name.
type Tokens struct {
	List     []int
	ByModule map[string][]int
}

// Set says whether any are named.
func (t Tokens) Set() bool { return t.List != nil || t.ByModule != nil }

// MarshalJSON writes a list, an object or null.
func (t Tokens) MarshalJSON() ([]byte, error) {
	if t.ByModule != nil {
		return encode(t.ByModule, ""), nil
	}
	return encode(t.List, ""), nil
}

// UnmarshalJSON reads a list, an object or null.
func (t *Tokens) UnmarshalJSON(b []byte) error {
	*t = Tokens{}
	if len(b) > 0 && b[0] == '{' {
		return json.Unmarshal(b, &t.ByModule)
	}
	if err := json.Unmarshal(b, &t.List); err != nil {
		return fmt.Errorf("want a list of token ids, or an object of lists by module name")
	}
	return nil
}
