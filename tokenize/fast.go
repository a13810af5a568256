package tokenize

import (
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Fast is the exact engine. It is safe for concurrent use: each call takes a
// worker with a bounded word cache of its own.
type Fast struct {
	hash    string
	special specialIDs

	norm     normalizer
	pre      []preStep
	model    model
	vocab    map[string]int32 // of the model
	cut      *cutter          // where the words of a model without a pre-tokenizer may be cut, nil: nowhere
	recorded Recorded
	added    []addedToken
	raw      trie // tokens looked for in the text
	normed   trie // tokens looked for in the normalized text
	post     postProcessor
	decoder  decoder
	byID     []string // spelling; ok in known
	known    []bool
	skip     map[string]bool // special tokens by spelling
	addedIDs map[string]int32
	needOrig bool // places matter for ids (Metaspace "first" after a normalizer)

	mu   sync.Mutex
	free []*worker
}

// Bounds of a worker's word cache; when one is reached the cache starts anew.
const (
	cacheWords   = 1 << 16
	cacheIDs     = 1 << 18
	cacheWordLen = 64 // longer words are not kept
	freeWorkers  = 64
)

// sameText is the size of a token that stands for the same bytes as the one before it.
const sameText = -1

// cached is where the ids of a word lie in the arena; the id itself where there is one that stands for all of the word, as of nearly all
// words of a text.
type cached struct{ off, n, id int32 }

// several is the id of a word that is not one token.
const several = -1

// worker is the state of one call.
type worker struct {
	f     *Fast
	t     *[unicode.MaxRune + 1]uint8
	s     scratch
	cache wordCache
	arena []int32 // ids of the cached words
	sizes []int32 // bytes of the word that each is for; sameText: those of the id before it

	visit func(word string) // called instead of encoding, when words are counted
	track bool              // places wanted
	ids   []int32
	own   []int32 // memory for ids where the caller has none
	spans []span  // of ids, in bytes of the original
	// leading and trailing spaces of the token at ids[i], when the
	// post-processor trims
	trims []trim
}

type trim struct{ lead, trail int32 }

func (f *Fast) get() *worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.free); n > 0 {
		w := f.free[n-1]
		f.free = f.free[:n-1]
		return w
	}
	return &worker{f: f, t: classTable()}
}

func (f *Fast) put(w *worker) {
	w.ids = nil
	w.spans, w.trims = w.spans[:0], w.trims[:0]
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.free) < freeWorkers {
		f.free = append(f.free, w)
	}
}

// AppendIDs implements Tokenizer.
func (f *Fast) AppendIDs(dst []int32, text string, addSpecial bool) ([]int32, error) {
	if err := validUTF8(text); err != nil {
		return dst, err
	}
	n := len(dst)
	if addSpecial {
		dst = append(dst, f.post.before...)
	}
	w := f.get()
	w.track = f.needOrig
	w.ids = dst
	err := w.text(text)
	dst = w.ids
	f.put(w)
	if err != nil {
		return dst[:n], err
	}
	if addSpecial {
		dst = append(dst, f.post.after...)
	}
	return dst, nil
}

// Encode implements Tokenizer.
func (f *Fast) Encode(text string, addSpecial bool) (*Encoding, error) {
	if err := validUTF8(text); err != nil {
		return nil, err
	}
	w := f.get()
	defer f.put(w)
	w.track, w.ids = true, w.own[:0]
	err := w.text(text)
	w.own = w.ids
	if err != nil {
		return nil, err
	}
	var before, after []int32
	if addSpecial {
		before, after = f.post.before, f.post.after
	}
	n := len(before) + len(w.ids) + len(after)
	// with room for a caller's bos and eos
	e := &Encoding{IDs: make([]int32, 0, n+2), Offsets: make([][2]int32, n, n+2), SpecialMask: make([]uint8, n)}
	e.IDs = append(append(append(e.IDs, before...), w.ids...), after...)
	for i := range e.SpecialMask {
		if i < len(before) || i >= len(before)+len(w.ids) {
			e.SpecialMask[i] = 1
		}
	}
	off := e.Offsets[len(before):]
	points(text, w.spans, off)
	for _, t := range f.post.trims {
		for i := range w.ids {
			off[i] = w.trims[i].apply(off[i], i == 0, t.prefix)
		}
	}
	return e, nil
}

// points turns bytes into code points.
func points(text string, spans []span, off [][2]int32) {
	if ascii(text) {
		for i, s := range spans {
			off[i] = [2]int32{s.b, s.e}
		}
		return
	}
	at, count := 0, int32(0) // code points before byte at
	cp := func(b int) int32 {
		for at < b {
			if utf8.RuneStart(text[at]) {
				count++
			}
			at++
		}
		for at > b {
			at--
			if utf8.RuneStart(text[at]) {
				count--
			}
		}
		return count
	}
	for i, s := range spans {
		from := cp(int(s.b))
		if int(s.b) < len(text) && !utf8.RuneStart(text[s.b]) {
			from-- // a token that begins inside a character covers it
		}
		off[i] = [2]int32{from, cp(int(s.e))}
	}
}

// ascii says whether every byte is a character, eight at a time.
func ascii(s string) bool {
	all := byte(0)
	for ; len(s) >= 8; s = s[8:] {
		all |= s[0] | s[1] | s[2] | s[3] | s[4] | s[5] | s[6] | s[7]
		if all >= utf8.RuneSelf {
			return false
		}
	}
	for i := range len(s) {
		all |= s[i]
	}
	return all < utf8.RuneSelf
}

func validUTF8(text string) error {
	if utf8.ValidString(text) {
		return nil
	}
	for i, r := range text {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(text[i:]); n == 1 {
				return fmt.Errorf("tokenize: text is not valid UTF-8 at byte %d", i)
			}
		}
	}
	return nil
}

// text cuts out the added tokens, normalizes, splits and encodes.
func (w *worker) text(text string) error {
	var err error
	if w.f.raw.nodes == nil {
		return w.normed(seg{s: text})
	}
	w.f.raw.split(text, func(b, e int, tok *addedToken) {
		g := seg{s: text[b:e], base: b}
		if tok != nil {
			w.token(tok, g)
		} else if err == nil {
			err = w.normed(g)
		}
	})
	return err
}

func (w *worker) normed(g seg) error {
	if g.s == "" {
		return nil
	}
	if w.f.norm != nil {
		var err error
		if g, err = w.f.norm.normalize(g, w.track); err != nil {
			return err
		}
	}
	if w.f.normed.nodes == nil {
		if g.s == "" {
			return nil
		}
		return w.pre(0, g)
	}
	var err error
	w.f.normed.split(g.s, func(b, e int, tok *addedToken) {
		if tok != nil {
			w.token(tok, g.sub(b, e))
		} else if err == nil {
			err = w.pre(0, g.sub(b, e))
		}
	})
	return err
}

// token is an added token found in the text.
func (w *worker) token(tok *addedToken, g seg) {
	w.ids = append(w.ids, tok.id)
	if w.track {
		b, e := g.place(0, len(g.s))
		w.spans = append(w.spans, span{int32(b), int32(e)})
		if len(w.f.post.trims) > 0 {
			w.trims = append(w.trims, spaces(g.s))
		}
	}
}

// words encodes a text that went through the pre-tokenizers.
func (w *worker) words(g seg) {
	if w.f.cut == nil {
		w.word(g)
		return
	}
	for i := 0; i < len(g.s); {
		e := w.f.cut.end(g.s, i)
		w.word(g.sub(i, e))
		i = e
	}
}

// word encodes one word.
func (w *worker) word(g seg) {
	if w.visit != nil {
		w.visit(g.s)
		return
	}
	c, ok := w.cache.get(g.s)
	if !ok {
		c = w.encode(g.s)
	}
	if c.id != several && len(w.f.post.trims) == 0 {
		w.ids = append(w.ids, c.id)
		if w.track {
			b, e := g.place(0, len(g.s))
			w.spans = append(w.spans, span{int32(b), int32(e)})
		}
		return
	}
	ids, sizes := w.arena[c.off:c.off+c.n], w.sizes[c.off:c.off+c.n]
	w.ids = append(w.ids, ids...)
	if w.track {
		w.places(g, ids, sizes)
	}
	if len(g.s) > cacheWordLen { // it was not cached
		w.arena, w.sizes = w.arena[:c.off], w.sizes[:c.off]
	}
}

// encode puts what the model makes of a word at the end of the arena, and into the cache where it is not too long.
func (w *worker) encode(word string) cached {
	w.f.model.encode(&w.s, word)
	if w.cache.words() >= cacheWords || len(w.arena)+len(w.s.syms) > cacheIDs {
		w.cache.clear()
		w.arena, w.sizes = w.arena[:0], w.sizes[:0]
	}
	from := len(w.arena)
	for i := int32(0); i >= 0 && len(w.s.syms) > 0; i = w.s.syms[i].next {
		y := &w.s.syms[i]
		w.arena = append(w.arena, y.id)
		if y.same {
			w.sizes = append(w.sizes, sameText)
		} else {
			w.sizes = append(w.sizes, y.n)
		}
	}
	c := cached{int32(from), int32(len(w.arena) - from), several}
	if len(word) > cacheWordLen {
		return c
	}
	if c.n == 1 && int(w.sizes[from]) == len(word) {
		c.id = w.arena[from]
	}
	w.cache.put(word, c)
	return c
}

// places adds the spans of a word's tokens.
func (w *worker) places(g seg, ids, sizes []int32) {
	pos := 0
	for i, n := range sizes {
		if n == sameText {
			w.spans = append(w.spans, w.spans[len(w.spans)-1])
		} else {
			b, e := g.place(pos, pos+int(n))
			pos += int(n)
			w.spans = append(w.spans, span{int32(b), int32(e)})
		}
		if len(w.f.post.trims) > 0 {
			w.trims = append(w.trims, spaces(w.f.byID[ids[i]]))
		}
	}
}

// Decode implements Tokenizer.
func (f *Fast) Decode(ids []int32, skipSpecial bool) string {
	toks := make([]string, 0, len(ids))
	for _, id := range ids {
		s, ok := f.IDToToken(id)
		if !ok || skipSpecial && f.skip[s] {
			continue
		}
		toks = append(toks, s)
	}
	if f.decoder == nil {
		return strings.Join(toks, " ")
	}
	return strings.Join(f.decoder.decode(toks), "")
}

// VocabSize implements Tokenizer.
func (f *Fast) VocabSize() int { return len(f.byID) }

// TokenToID implements Tokenizer.
func (f *Fast) TokenToID(token string) (int32, bool) {
	if id, ok := f.addedIDs[token]; ok {
		return id, true
	}
	id, ok := f.vocab[token]
	return id, ok
}

// IDToToken implements Tokenizer.
func (f *Fast) IDToToken(id int32) (string, bool) {
	if id < 0 || int(id) >= len(f.byID) || !f.known[id] {
		return "", false
	}
	return f.byID[id], true
}

// Hash implements Tokenizer.
func (f *Fast) Hash() string { return f.hash }

// Special implements Tokenizer.
func (f *Fast) Special() (bos, eos, pad, unk int32) {
	return f.special[0], f.special[1], f.special[2], f.special[3]
}

// Around implements Tokenizer.
func (f *Fast) Around() (before, after []int32) { return f.post.before, f.post.after }

var _ Tokenizer = (*Fast)(nil)
