package tokenize

import (
	"fmt"
	"unicode/utf8"
)

// model turns a word into the ids of its parts. It is read-only after loading.
type model interface {
	// encode fills s.syms, linked from 0 along next.
	encode(s *scratch, word string)
	// ids is the vocabulary by spelling.
	ids() map[string]int32
	// spellings lists the tokens by id where two ids may have one spelling, else nil.
	spellings() []string
}

// models are the kinds of model by their type in tokenizer.json.
var models = []struct {
	kind string
	read func(o *obj, byteLevel bool) (model, error)
}{
	{"BPE", readBPE}, {"Unigram", readUnigram}, {"WordLevel", readWordLevel}, {"WordPiece", readWordPiece},
}

// parseModel reads the model.
func parseModel(v val, byteLevel bool) (model, error) {
	o, err := v.object()
	if err != nil {
		if v.null() {
			return nil, fmt.Errorf("model is missing")
		}
		return nil, err
	}
	kind := o.strOr("type", "")
	if kind == "" { // files of older versions do not name it
		has := func(k string) bool { _, ok := o.m[k]; return ok }
		switch {
		case has("merges"):
			kind = "BPE"
		case has("continuing_subword_prefix"):
			kind = "WordPiece"
		case has("unk_id"):
			kind = "Unigram"
		case has("unk_token"):
			kind = "WordLevel"
		default:
			kind = "(none, and no fields that tell)"
		}
	}
	have := ""
	for i, m := range models {
		if m.kind == kind {
			x, err := m.read(o, byteLevel)
			if err == nil {
				err = o.done()
			}
			return x, err
		}
		if i > 0 {
			have += ", "
		}
		have += m.kind
	}
	return nil, unsupported(v.path, kind, have)
}

// wordPiece is BERT's model: the longest token at each place, the unknown token for a word that cannot be covered.
type wordPiece struct {
	vocab    map[string]int32
	start    *btrie // tokens at the start of a word
	inner    *btrie // tokens after it, without their prefix
	unk      int32
	maxChars int
}

func readWordPiece(o *obj, _ bool) (model, error) {
	m := &wordPiece{start: newBtrie(), inner: newBtrie(), maxChars: 100, unk: -1}
	unk, prefix := o.strOr("unk_token", "[UNK]"), o.strOr("continuing_subword_prefix", "##")
	o.get("max_input_chars_per_word", false, &m.maxChars)
	o.get("vocab", true, &m.vocab)
	if o.err != nil {
		return nil, o.err
	}
	id, ok := m.vocab[unk]
	if !ok {
		return nil, fmt.Errorf("%s %q is not in %s", o.at("unk_token"), unk, o.at("vocab"))
	}
	m.unk = id
	for tok, id := range m.vocab {
		m.start.put(tok, id)
		if len(tok) > len(prefix) && tok[:len(prefix)] == prefix {
			m.inner.put(tok[len(prefix):], id)
		}
	}
	return m, nil
}

func (m *wordPiece) ids() map[string]int32 { return m.vocab }
func (m *wordPiece) spellings() []string   { return nil }

func (m *wordPiece) encode(s *scratch, word string) {
	s.syms = s.syms[:0]
	if len(word) > m.maxChars && utf8.RuneCountInString(word) > m.maxChars {
		s.add(m.unk, int32(len(word)))
		s.link()
		return
	}
	t := m.start
	for at := 0; at < len(word); t = m.inner {
		id, n := t.longest(word[at:])
		if n == 0 {
			s.syms = s.syms[:0]
			s.add(m.unk, int32(len(word)))
			break
		}
		s.add(id, int32(n))
		at += n
	}
	s.link()
}

// wordLevel has a token for each whole word.
type wordLevel struct {
	vocab map[string]int32
	unk   int32
}

func readWordLevel(o *obj, _ bool) (model, error) {
	m := &wordLevel{unk: -1}
	unk := o.strOr("unk_token", "<unk>")
	o.get("vocab", true, &m.vocab)
	if o.err != nil {
		return nil, o.err
	}
	id, ok := m.vocab[unk]
	if !ok {
		return nil, fmt.Errorf("%s %q is not in %s, so a word that the vocabulary lacks has no id", o.at("unk_token"), unk, o.at("vocab"))
	}
	m.unk = id
	return m, nil
}

func (m *wordLevel) ids() map[string]int32 { return m.vocab }
func (m *wordLevel) spellings() []string   { return nil }

func (m *wordLevel) encode(s *scratch, word string) {
	s.syms = s.syms[:0]
	id, ok := m.vocab[word]
	if !ok {
		id = m.unk
	}
	s.add(id, int32(len(word)))
	s.link()
}
