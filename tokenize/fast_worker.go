package tokenize

import (
	"unicode"
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
