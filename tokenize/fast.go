package tokenize

import (
	"fmt"
	"strings"
	"sync"
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
