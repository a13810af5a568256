package tokenize

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is a token that is cut out of the text before the model sees it.
type addedToken struct {
	id                                 int32
	content                            string
	single, lstrip, rstrip, normalized bool
	special                            bool
}

// trie finds the longest token at each place, leftmost first.
type trie struct {
	first [256]bool
	only  int16 // the first byte of all tokens, -1 where they have several
	nodes []trieNode
}

type trieNode struct {
	next map[byte]int32
	tok  *addedToken
}

// add enters a token under the text it is looked for by; the first of equal
// texts stays.
func (t *trie) add(text string, tok *addedToken) {
	if text == "" {
		return
	}
	if t.nodes == nil {
		t.nodes, t.only = []trieNode{{}}, int16(text[0])
	}
	if t.only != int16(text[0]) {
		t.only = -1
	}
	t.first[text[0]] = true
	at := int32(0)
	for i := range len(text) {
		n, ok := t.nodes[at].next[text[i]]
		if !ok {
			n = int32(len(t.nodes))
			t.nodes = append(t.nodes, trieNode{})
			if t.nodes[at].next == nil {
				t.nodes[at].next = map[byte]int32{}
			}
			t.nodes[at].next[text[i]] = n
		}
		at = n
	}
	if t.nodes[at].tok == nil {
		t.nodes[at].tok = tok
	}
}

// match is the longest token at s[i:], nil when there is none.
func (t *trie) match(s string, i int) (tok *addedToken, end int) {
	at := int32(0)
	for j := i; j < len(s); j++ {
		n, ok := t.nodes[at].next[s[j]]
		if !ok {
			break
		}
		at = n
		if t.nodes[at].tok != nil {
			tok, end = t.nodes[at].tok, j+1
		}
	}
	return tok, end
}

// split calls f for the parts of s in order: tok nil for text, else the token
// with the spaces it strips. Parts of no length are left out.
func (t *trie) split(s string, f func(b, e int, tok *addedToken)) {
	start := 0
	if t.nodes != nil {
		for i := 0; i < len(s); {
			if t.only >= 0 {
				n := strings.IndexByte(s[i:], byte(t.only))
				if n < 0 {
					break
				}
				i += n
			} else if !t.first[s[i]] {
				i++
				continue
			}
			tok, end := t.match(s, i)
			if tok == nil {
				i++
				continue
			}
			b, e := i, end
			i = end
			if tok.single && (endsWord(s[:b]) || startsWord(s[e:])) {
				continue
			}
			if tok.lstrip {
				b = max(len(strings.TrimRightFunc(s[:b], isSpace)), start)
			}
			if tok.rstrip {
				e = len(s) - len(strings.TrimLeftFunc(s[e:], isSpace))
			}
			if start < b {
				f(start, b, nil)
			}
			if b < e {
				f(b, e, tok)
			}
			start = e
		}
	}
	if start < len(s) {
		f(start, len(s), nil)
	}
}

func isSpace(r rune) bool { return unicode.Is(unicode.White_Space, r) }

// isWord is \w of Rust's regex: Alphabetic, M, Nd, Pc, Join_Control.
func isWord(r rune) bool { return classTable()[r]&classW != 0 }

func endsWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isWord(r)
}

func startsWord(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isWord(r)
}

// parseAdded reads added_tokens.
func parseAdded(v val, vocab map[string]int32) ([]addedToken, error) {
	list, err := v.list()
	if err != nil {
		return nil, err
	}
	var out []addedToken
	seen := map[int32]string{}
	for _, e := range list {
		o, err := e.object()
		if err != nil {
			return nil, err
		}
		t := addedToken{
			content: o.str("content"), special: o.boolean("special", false),
			single: o.boolean("single_word", false), lstrip: o.boolean("lstrip", false), rstrip: o.boolean("rstrip", false),
		}
		t.normalized = o.boolean("normalized", !t.special)
		id := o.integer("id")
		if err := o.done(); err != nil {
			return nil, err
		}
		if id < 0 || id >= maxVocab {
			return nil, fmt.Errorf("added_tokens: token %.40q has id %d, out of range", t.content, id)
		}
		t.id = int32(id)
		if t.content == "" {
			continue
		}
		if id, ok := vocab[t.content]; ok && id != t.id {
			return nil, fmt.Errorf("%s: token %q has id %d here and %d in model.vocab", e.path, t.content, t.id, id)
		}
		if c, ok := seen[t.id]; ok {
			return nil, fmt.Errorf("%s: id %d is given to %q and to %q", e.path, t.id, c, t.content)
		}
		seen[t.id] = t.content
		out = append(out, t)
	}
	return out, nil
}
