package tokenize

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// unigram is sentencepiece's unigram language model: of all ways to cut a word the one whose tokens' log-probabilities add up highest
// (Viterbi), ties to the token that begins first, as Hugging Face tokenizers has it.
type unigram struct {
	vocab    map[string]int32
	toks     []string
	scores   []float64
	tokens   *btrie
	unk      int32 // -1: none
	unkScore float64
	bytes    *[256]int32 // ids of <0xXX> with byte fallback, else nil
}

// unkPenalty is how much less than the least probable token a character without a token has.
const unkPenalty = 10.0

func readUnigram(o *obj, _ bool) (model, error) {
	m := &unigram{vocab: map[string]int32{}, tokens: newBtrie(), unk: -1}
	if o.get("unk_id", false, &m.unk) && o.err != nil {
		return nil, o.err
	}
	fallback := o.boolean("byte_fallback", false)
	list, err := o.take("vocab").list()
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s is empty", o.at("vocab"))
	}
	low := math.Inf(1)
	for i, e := range list {
		var pair []json.RawMessage
		var tok string
		var score json.Number
		if err := e.decode(&pair); err != nil {
			return nil, err
		}
		if len(pair) != 2 || json.Unmarshal(pair[0], &tok) != nil || json.Unmarshal(pair[1], &score) != nil {
			return nil, fmt.Errorf("%s is not a token and its score", e.path)
		}
		x := serdeFloat(score.String())
		m.toks, m.scores = append(m.toks, tok), append(m.scores, x)
		m.vocab[tok] = int32(i)
		low = min(low, x)
	}
	for tok, id := range m.vocab {
		if tok != "" {
			m.tokens.put(tok, id)
		}
	}
	if int(m.unk) >= len(m.toks) {
		return nil, fmt.Errorf("%s is %d, but there are %d tokens", o.at("unk_id"), m.unk, len(m.toks))
	}
	m.unkScore = low - unkPenalty
	if fallback {
		m.bytes = new([256]int32)
		for b := range 256 {
			m.bytes[b] = -1
			if id, ok := m.vocab[byteToken(b)]; ok {
				m.bytes[b] = id
			}
		}
	}
	return m, nil
}

// serdeFloat reads a JSON number as the library that Hugging Face tokenizers uses does by default: its digits as one whole number, divided
// by a power of ten, which may be off in the last bit. Sums of scores that differ in that bit decide between cuts that are alike otherwise.
func serdeFloat(s string) float64 {
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	digits, exp, _ := strings.Cut(strings.ToLower(s), "e")
	e, _ := strconv.Atoi(exp)
	var sig uint64
	full, point := false, false
	for i := range len(digits) {
		if digits[i] == '.' {
			point = true
			continue
		}
		d := uint64(digits[i] - '0')
		if full = full || sig > (math.MaxUint64-d)/10; full {
			if !point {
				e++
			}
			continue
		}
		sig = sig*10 + d
		if point {
			e--
		}
	}
	f := float64(sig)
	for ; e < -308 && f != 0; e += 308 {
		f /= 1e308
	}
	switch {
	case e < 0 && f != 0:
		f /= math.Pow10(-e)
	case e > 0:
		f *= math.Pow10(e)
	}
	if neg {
		return -f
	}
	return f
}

func (m *unigram) ids() map[string]int32 { return m.vocab }
func (m *unigram) spellings() []string   { return m.toks }

// lattice is the best way to reach a byte of the word.
type lattice struct {
	score float64
	from  int32 // -1: not reached
	id    int32
}

func (m *unigram) encode(s *scratch, word string) {
	s.syms = s.syms[:0]
	if cap(s.best) < len(word)+1 {
		s.best = make([]lattice, len(word)+1+len(word)/2)
	}
	best := s.best[:len(word)+1]
	for i := range best {
		best[i] = lattice{from: -1}
	}
	reach := func(to, from int, score float64, id int32) {
		if t := &best[to]; t.from < 0 || score > t.score {
			*t = lattice{score, int32(from), id}
		}
	}
	for at := 0; at < len(word); {
		here := best[at].score
		n := 1
		if word[at] >= utf8.RuneSelf {
			_, n = utf8.DecodeRuneInString(word[at:])
		}
		single := false
		for i, node := at, int32(0); i < len(word); i++ {
			if node = m.tokens.step(node, word[i]); node == 0 {
				break
			}
			if id := m.tokens.values[node]; id >= 0 {
				reach(i+1, at, m.scores[id]+here, id)
				single = single || i+1-at == n
			}
		}
		if !single {
			reach(at+n, at, m.unkScore+here, m.unk)
		}
		at += n
	}
	// Back from the end; unknown characters in a row are one token, which may have an id of its own.
	for end := len(word); end > 0; {
		b := best[end]
		from := int(b.from)
		if b.id == m.unk {
			for from > 0 && best[from].id == m.unk {
				from = int(best[from].from)
			}
			m.whole(s, word[from:end])
		} else {
			s.add(b.id, int32(end-from))
		}
		end = from
	}
	for i, j := 0, len(s.syms)-1; i < j; i, j = i+1, j-1 {
		s.syms[i], s.syms[j] = s.syms[j], s.syms[i]
	}
	s.link()
}

// whole adds the token of a part without a path, backwards: its own, those of its bytes, or the unknown one. Without an unknown token it is
// left out, where Hugging Face tokenizers fails.
func (m *unigram) whole(s *scratch, part string) {
	if id, ok := m.vocab[part]; ok {
		s.add(id, int32(len(part)))
		return
	}
	if m.bytes != nil {
		all := true
		for i := range len(part) {
			all = all && m.bytes[part[i]] >= 0
		}
		if all { // every byte stands for the whole part
			for i := len(part) - 1; i >= 0; i-- {
				y := symbol{id: m.bytes[part[i]], same: i > 0}
				if i == 0 {
					y.n = int32(len(part))
				}
				s.syms = append(s.syms, y)
			}
			return
		}
	}
	s.syms = append(s.syms, symbol{id: m.unk, n: int32(len(part))})
}
