package grammar

import (
	"fmt"
	"strings"
)

// The kinds of what a value may be.
type kind uint8

const (
	kindUnion kind = iota // one of the nodes in of
	kindAny               // any JSON
	kindLiteral
	kindString
	kindNumber
	kindWhole // an integer from min to max
	kindObject
	kindArray
	kindValue // one blank perhaps, then the node in of
)

// node is a compiled schema.
type node struct {
	kind    kind
	of      []*node
	text    string // of a literal
	min     int    // characters of a string, elements of an array
	max     int    // -1 for no bound
	integer bool
	props   []prop
	other   *node // values of properties that have no name; nil for none
}

type prop struct {
	key      *node // "name":
	value    *node // a kindValue
	required bool
}

// Grammar describes texts. It may be used by several goroutines at once.
type Grammar struct{ root *node }

// item is what is begun and not ended, on top of what stands around it.
type item struct {
	n     *node
	st, k int
	depth int
	next  *item
}

// done is the end of a text.
var done = &item{}

// State is what of a text has been read: all ways in which it can be understood. It does not change.
type State struct{ ways []*item }

const (
	mostDepth  = 24  // of values in values, where a schema says nothing of them
	mostWays   = 256 // in which a text can be understood at a time
	mostDigits = 15  // so that an integer is one of 64 bits, and exact as a float64
)

// Start is the state before the first byte.
func (g *Grammar) Start() State { return State{expand(nil, g.root, 0, done)} }

// Dead says whether no text goes on from here.
func (s State) Dead() bool { return len(s.ways) == 0 }

// Done says whether the text may end here.
func (s State) Done() bool {
	for _, w := range s.ways {
		for w.ends() {
			w = w.next
		}
		if w == done {
			return true
		}
	}
	return false
}

// Feed reads a byte.
func (s State) Feed(b byte) State {
	var out []*item
	for _, w := range s.ways {
		out = feed(out, w, b)
		if len(out) > mostWays {
			return State{}
		}
	}
	return State{out}
}

// key tells states apart.
func (s State) key() string {
	var b strings.Builder
	for _, w := range s.ways {
		for ; w != done; w = w.next {
			fmt.Fprintf(&b, "%p %d %d %d,", w.n, w.st, w.k, w.depth)
		}
		b.WriteByte(';')
	}
	return b.String()
}

// expand adds the ways in which a value of a node begins.
func expand(to []*item, n *node, depth int, next *item) []*item {
	switch n.kind {
	case kindUnion:
		for _, o := range n.of {
			to = expand(to, o, depth, next)
		}
		return to
	case kindAny:
		for _, o := range anything.of {
			if depth < mostDepth || o.kind != kindObject && o.kind != kindArray {
				to = expand(to, o, depth, next)
			}
		}
		return to
	case kindObject, kindArray:
		depth++
	}
	return append(to, &item{n: n, depth: depth, next: next})
}

// anything is any JSON.
var anything = &node{kind: kindUnion}

func init() {
	free := &node{kind: kindAny}
	value := &node{kind: kindValue, of: []*node{free}}
	anything.of = []*node{
		{kind: kindObject, other: value}, {kind: kindArray, of: []*node{free}, max: -1}, {kind: kindString, max: -1}, {kind: kindNumber},
		literal("true"), literal("false"), literal("null"),
	}
}

func literal(text string) *node { return &node{kind: kindLiteral, text: text} }

// with is the item at another place.
func (i *item) with(st, k int) *item { return &item{i.n, st, k, i.depth, i.next} }

// feed adds the ways that go on from w by a byte.
func feed(to []*item, w *item, b byte) []*item {
	if w == done {
		return to
	}
	switch w.n.kind {
	case kindLiteral:
		if w.n.text[w.k] != b {
			return to
		}
		if w.k+1 == len(w.n.text) {
			return append(to, w.next)
		}
		return append(to, w.with(0, w.k+1))
	case kindValue:
		if b == ' ' && w.st == 0 {
			return append(to, w.with(1, 0))
		}
		for _, i := range expand(nil, w.n.of[0], w.depth, w.next) {
			to = feed(to, i, b)
		}
		return to
	case kindString:
		return feedString(to, w, b)
	case kindNumber:
		return feedNumber(to, w, b)
	case kindWhole:
		return feedWhole(to, w, b)
	case kindObject:
		return feedObject(to, w, b)
	case kindArray:
		return feedArray(to, w, b)
	}
	return to
}

// The places in an object and an array.
const (
	before    = iota // its bracket
	first            // behind the bracket
	following        // behind a value
	comma            // behind a comma
	blank            // behind a comma and a blank
)

func feedObject(to []*item, w *item, b byte) []*item {
	switch w.st {
	case before:
		if b == '{' {
			to = append(to, w.with(first, 0))
		}
		return to
	case following:
		if b == ',' && w.mayGoOn() {
			to = append(to, w.with(comma, w.k))
		}
	case comma:
		if b == ' ' {
			return append(to, w.with(blank, w.k))
		}
	}
	if w.st == first || w.st == following {
		if b == '}' && w.mayEnd() {
			return append(to, w.next)
		}
		if w.st == following {
			return to
		}
	}
	for i := w.k; i < len(w.n.props); i++ {
		p := w.n.props[i]
		after := &item{p.value, 0, 0, w.depth, w.with(following, i+1)}
		to = feed(to, &item{p.key, 0, 0, w.depth, after}, b)
		if p.required {
			break
		}
	}
	if w.n.other != nil && b == '"' {
		after := &item{w.n.other, 0, 0, w.depth, w.with(following, 0)}
		colon := &item{colonNode, 0, 0, w.depth, after}
		to = feed(to, &item{nameNode, 0, 0, w.depth, colon}, b)
	}
	return to
}

var (
	colonNode = literal(":")
	nameNode  = &node{kind: kindString, max: -1}
)

// mayEnd says whether an object has what it must have.
func (i *item) mayEnd() bool {
	for _, p := range i.n.props[min(i.k, len(i.n.props)):] {
		if p.required {
			return false
		}
	}
	return true
}

func (i *item) mayGoOn() bool { return i.n.other != nil || i.k < len(i.n.props) }

func feedArray(to []*item, w *item, b byte) []*item {
	n := w.n
	switch {
	case w.st == before:
		if b == '[' {
			to = append(to, w.with(first, 0))
		}
		return to
	case w.st == comma && b == ' ':
		return append(to, w.with(blank, w.k))
	case (w.st == first || w.st == following) && b == ']':
		if w.k >= n.min {
			to = append(to, w.next)
		}
		return to
	case w.st == following:
		if b == ',' && (n.max < 0 || w.k < n.max) {
			to = append(to, w.with(comma, w.k))
		}
		return to
	case n.max >= 0 && w.k >= n.max:
		return to
	}
	k := w.k + 1
	if n.max < 0 {
		k = min(k, n.min) // as far as it is counted
	}
	for _, i := range expand(nil, n.of[0], w.depth, w.with(following, k)) {
		to = feed(to, i, b)
	}
	return to
}

// The places in a string; from hex on those of \uXXXX, from tail on those of a character of several bytes.
const (
	quote = iota
	inside
	escape
	hex
	surrogate = hex + 1 // behind \ud, which must not become a surrogate
	hex2      = hex + 2
	hex3      = hex + 3
	hex4      = hex + 4
	tail1     = 16 // one more byte
	tail2     = 17
	tail3     = 18
	tailE0    = 19 // the first of more bytes, with bounds of its own
	tailED    = 20
	tailF0    = 21
	tailF4    = 22
)

func feedString(to []*item, w *item, b byte) []*item {
	n := w.n
	count := func(st int) []*item { // one more character
		k := w.k
		if n.max >= 0 {
			if k >= n.max {
				return to
			}
			k++
		} else {
			k = min(k+1, n.min)
		}
		return append(to, w.with(st, k))
	}
	switch w.st {
	case inside:
		switch {
		case b == '"':
			if w.k >= n.min {
				to = append(to, w.next)
			}
			return to
		case b == '\\':
			return count(escape)
		case b < 0x20 || b == 0x7f:
			return to
		case b < 0x80:
			return count(inside)
		}
		for _, r := range leads {
			if b >= r.lo && b <= r.hi {
				return count(r.st)
			}
		}
		return to
	case escape:
		if b == 'u' {
			return append(to, w.with(hex, w.k))
		}
		if strings.IndexByte(`"\/bfnrt`, b) >= 0 {
			return append(to, w.with(inside, w.k))
		}
		return to
	case hex:
		if b == 'd' || b == 'D' {
			return append(to, w.with(surrogate, w.k))
		}
		fallthrough
	case hex2, hex3, hex4:
		if !isHex(b) {
			return to
		}
		switch w.st {
		case hex:
			return append(to, w.with(hex2, w.k))
		case hex4:
			return append(to, w.with(inside, w.k))
		}
		return append(to, w.with(w.st+1, w.k))
	}
	if r := only[w.st]; b >= r.lo && b <= r.hi {
		return append(to, w.with(r.st, w.k))
	}
	return to
}

// only are the places where bytes of one range go on, all to the same place.
var only = [tailF4 + 1]span{quote: {'"', '"', inside}, surrogate: {'0', '7', hex3}, tail1: {0x80, 0xbf, inside},
	tail2: {0x80, 0xbf, tail1}, tail3: {0x80, 0xbf, tail2}, tailE0: {0xa0, 0xbf, tail1}, tailED: {0x80, 0x9f, tail1},
	tailF0: {0x90, 0xbf, tail2}, tailF4: {0x80, 0x8f, tail2}}

// span is bytes and the place that they lead to.
type span struct {
	lo, hi byte
	st     int
}

// leads are the first bytes of characters of several.
var leads = []span{{0xc2, 0xdf, tail1}, {0xe0, 0xe0, tailE0}, {0xe1, 0xec, tail2}, {0xed, 0xed, tailED}, {0xee, 0xef, tail2},
	{0xf0, 0xf0, tailF0}, {0xf1, 0xf3, tail3}, {0xf4, 0xf4, tailF4}}

func isHex(b byte) bool { return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F' }

// The places in a number.
const (
	numStart = iota
	numMinus
	numZero // accepts
	numInt  // accepts
	numPoint
	numFraction // accepts
	numE
	numSign
	numExp // accepts
)

func accepts(st int) bool { return st == numZero || st == numInt || st == numFraction || st == numExp }

func feedNumber(to []*item, w *item, b byte) []*item {
	st, k := nextInNumber(w, b), w.k+1
	if st == numE || st == numSign {
		k = 0
	}
	if st >= 0 && k <= mostDigits {
		return append(to, w.with(st, k))
	}
	if st < 0 && accepts(w.st) {
		return feed(to, w.next, b)
	}
	return to
}

// nextInNumber is the place that a byte leads to, -1 for none within the number.
func nextInNumber(w *item, b byte) (st int) {
	digit := b >= '0' && b <= '9'
	st = -1
	switch w.st {
	case numStart, numMinus:
		switch {
		case b == '-' && w.st == numStart:
			st = numMinus
		case b == '0':
			st = numZero
		case digit:
			st = numInt
		}
	case numInt:
		if digit {
			st = numInt
		}
	case numPoint, numFraction:
		if digit {
			st = numFraction
		}
	case numE:
		if b == '+' || b == '-' {
			st = numSign
		} else if digit {
			st = numExp
		}
	case numSign:
		if digit {
			st = numExp
		}
	case numExp:
		if digit && w.k < 2 { // an exponent of two digits is a float64's
			st = numExp
		}
	}
	if st < 0 && accepts(w.st) && !w.n.integer && w.st != numExp {
		switch {
		case b == '.' && w.st != numFraction:
			st = numPoint
		case b == 'e' || b == 'E':
			st = numE
		}
	}
	return st
}
