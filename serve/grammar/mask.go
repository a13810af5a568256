package grammar

import (
	"bytes"
	"slices"
	"sync"
)

// Vocabulary are the bytes of tokens, ordered, so that those that begin alike are looked at together. It may be used by several goroutines.
type Vocabulary struct {
	tokens []token
	size   int
}

type token struct {
	bytes []byte
	id    int32
}

// NewVocabulary makes a vocabulary of the tokens' bytes by id; a token without any is never allowed.
func NewVocabulary(tokens [][]byte) *Vocabulary {
	v := &Vocabulary{size: len(tokens)}
	for id, b := range tokens {
		if len(b) > 0 {
			v.tokens = append(v.tokens, token{b, int32(id)})
		}
	}
	slices.SortFunc(v.tokens, func(a, b token) int { return bytes.Compare(a.bytes, b.bytes) })
	return v
}

// allowed are the tokens that may follow a state, as bits.
func (v *Vocabulary) allowed(s State) []uint64 {
	out := make([]uint64, (v.size+63)/64)
	states := []State{s} // behind the bytes that the last token and the next have in common, one more each
	var last []byte
	for _, t := range v.tokens {
		n := 0
		for n < len(last) && n < len(t.bytes) && last[n] == t.bytes[n] {
			n++
		}
		states = states[:min(n+1, len(states))]
		last = t.bytes
		for i := len(states) - 1; i < len(t.bytes) && !states[i].Dead(); i++ {
			states = append(states, states[i].Feed(t.bytes[i]))
		}
		if len(states) == len(t.bytes)+1 && !states[len(t.bytes)].Dead() {
			out[t.id/64] |= 1 << (t.id % 64)
		}
	}
	return out
}

// Text is a text under a grammar that is made token by token. It is one goroutine's.
type Text struct {
	v     *Vocabulary
	all   [][]byte
	state State
	read  int
	cache *masks
}

// masks are what states allow, of one grammar and vocabulary.
type masks struct {
	mu sync.Mutex
	by map[string][]uint64
}

const mostMasks = 4096

// Writer makes texts of a grammar with the tokens of a vocabulary, whose bytes all are by id.
type Writer struct {
	g     *Grammar
	v     *Vocabulary
	all   [][]byte
	cache *masks
}

// NewWriter is a Writer of which several texts may be made at once.
func NewWriter(g *Grammar, v *Vocabulary, all [][]byte) *Writer {
	return &Writer{g, v, all, &masks{by: map[string][]uint64{}}}
}

// Text begins a text.
func (w *Writer) Text() *Text { return &Text{v: w.v, all: w.all, state: w.g.Start(), cache: w.cache} }

// Allow says which tokens may follow, as bits by id, and whether the text may end, where ids are those that it has.
func (t *Text) Allow(ids []int32) (bits []uint64, end bool) {
	for ; t.read < len(ids); t.read++ {
		for _, b := range t.all[ids[t.read]] {
			t.state = t.state.Feed(b)
		}
	}
	key := t.state.key()
	t.cache.mu.Lock()
	defer t.cache.mu.Unlock()
	bits, ok := t.cache.by[key]
	if !ok {
		if len(t.cache.by) >= mostMasks {
			clear(t.cache.by)
		}
		bits = t.v.allowed(t.state)
		t.cache.by[key] = bits
	}
	return bits, t.state.Done()
}
