package tokenize

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/sugarme/tokenizer"
	"github.com/sugarme/tokenizer/pretrained"
)

// Sugarme is the second engine, github.com/sugarme/tokenizer. It agrees with Hugging Face tokenizers on many texts but not on
// all; offsets are those that the library reports. Calls run one at a time, as the library keeps caches of its own.
type Sugarme struct {
	mu      sync.Mutex
	tk      *tokenizer.Tokenizer
	hash    string
	size    int
	special specialIDs
	around  *postProcessor // in place of the library's; nil: the library's
}

// sugarmeOf makes the engine of a tokenizer.json with what the fast engine has found in the folder: added tokens, special tokens, what
// stands around a text and add_prefix_space.
func sugarmeOf(data []byte, f *Fast) (*Sugarme, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(data, &top); err != nil {
		return nil, err
	}
	type token struct {
		ID         int32  `json:"id"`
		Content    string `json:"content"`
		SingleWord bool   `json:"single_word"`
		LStrip     bool   `json:"lstrip"`
		RStrip     bool   `json:"rstrip"`
		Normalized bool   `json:"normalized"`
		Special    bool   `json:"special"`
	}
	list := []token{}
	for _, t := range f.added {
		list = append(list, token{t.id, t.content, t.single, t.lstrip, t.rstrip, t.normalized, t.special})
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	top["added_tokens"] = raw
	if p := f.loneByteLevel(); p != nil {
		var pre map[string]any
		if err := json.Unmarshal(top["pre_tokenizer"], &pre); err != nil {
			return nil, err
		}
		pre[prefixKey] = p.prefix
		if top["pre_tokenizer"], err = json.Marshal(pre); err != nil {
			return nil, err
		}
	}
	if data, err = json.Marshal(top); err != nil {
		return nil, err
	}
	s, err := newSugarme(data)
	if err != nil {
		return nil, err
	}
	for _, t := range f.added { // the library numbers tokens by itself
		if id, ok := s.TokenToID(t.content); !ok || id != t.id {
			return nil, fmt.Errorf("the sugarme engine gives the added token %q the id %d, and it has %d; use tokenizer.engine: fast",
				t.content, id, t.id)
		}
	}
	s.hash, s.special, s.around = f.hash, f.special, &f.post
	return s, nil
}

// newSugarme reads a tokenizer.json. The library panics on some files; that is an error here.
func newSugarme(data []byte) (s *Sugarme, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the sugarme engine cannot read it: %v; use tokenizer.engine: fast", r)
		}
	}()
	tk, err := pretrained.FromReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("the sugarme engine cannot read it: %w; use tokenizer.engine: fast", err)
	}
	sum := sha256.Sum256(data)
	s = &Sugarme{tk: tk, hash: hex.EncodeToString(sum[:])}
	for _, id := range tk.GetVocab(true) {
		s.size = max(s.size, id+1)
	}
	return s, nil
}

// Encode implements Tokenizer.
func (s *Sugarme) Encode(text string, addSpecial bool) (e *Encoding, err error) {
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("tokenize: the text is not valid UTF-8")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("tokenize: the sugarme engine failed on this text: %v; use tokenizer.engine: fast", r)
		}
	}()
	own := addSpecial && s.around != nil
	enc, err := s.tk.EncodeSingle(text, addSpecial && !own)
	if err != nil {
		return nil, fmt.Errorf("tokenize: %w", err)
	}
	e = &Encoding{}
	add := func(ids []int32) {
		for _, id := range ids {
			e.IDs, e.Offsets, e.SpecialMask = append(e.IDs, id), append(e.Offsets, [2]int32{}), append(e.SpecialMask, 1)
		}
	}
	if own {
		add(s.around.before)
	}
	for i, id := range enc.Ids {
		e.IDs = append(e.IDs, int32(id))
		o := [2]int32{}
		if i < len(enc.Offsets) && len(enc.Offsets[i]) == 2 {
			o = [2]int32{int32(enc.Offsets[i][0]), int32(enc.Offsets[i][1])}
		}
		e.Offsets = append(e.Offsets, o)
		m := uint8(0)
		if i < len(enc.SpecialTokenMask) {
			m = uint8(enc.SpecialTokenMask[i])
		}
		e.SpecialMask = append(e.SpecialMask, m)
	}
	if own {
		add(s.around.after)
	}
	return e, nil
}

// AppendIDs implements Tokenizer.
func (s *Sugarme) AppendIDs(dst []int32, text string, addSpecial bool) ([]int32, error) {
	e, err := s.Encode(text, addSpecial)
	if err != nil {
		return dst, err
	}
	return append(dst, e.IDs...), nil
}

// Decode implements Tokenizer.
func (s *Sugarme) Decode(ids []int32, skipSpecial bool) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	wide := make([]int, len(ids))
	for i, id := range ids {
		wide[i] = int(id)
	}
	return s.tk.Decode(wide, skipSpecial)
}

// VocabSize implements Tokenizer.
func (s *Sugarme) VocabSize() int { return s.size }

// TokenToID implements Tokenizer.
func (s *Sugarme) TokenToID(token string) (int32, bool) {
	id, ok := s.tk.TokenToId(token)
	return int32(id), ok
}

// IDToToken implements Tokenizer.
func (s *Sugarme) IDToToken(id int32) (string, bool) { return s.tk.IdToToken(int(id)) }

// Hash implements Tokenizer.
func (s *Sugarme) Hash() string { return s.hash }

// Around implements Tokenizer.
func (s *Sugarme) Around() (before, after []int32) {
	if s.around == nil {
		return nil, nil
	}
	return s.around.before, s.around.after
}

// Special implements Tokenizer.
func (s *Sugarme) Special() (bos, eos, pad, unk int32) {
	return s.special[0], s.special[1], s.special[2], s.special[3]
}
