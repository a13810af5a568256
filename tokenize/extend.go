package tokenize

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/tokenize/jinja"
)

// Extension are tokens that a vocabulary lacks and a corpus has often.
type Extension struct {
	Tokens []NewToken
	File   []byte // the tokenizer.json with them
}

// NewToken is a token of an extended vocabulary.
type NewToken struct {
	ID     int32
	Text   string  // its spelling in tokenizer.json
	Pieces []int32 // what the old vocabulary made of it; a new embedding row is the mean of their rows
}

// Extend adds at most n tokens to the BPE vocabulary of a tokenizer.json: training goes on where it ended, on the words that [CountWords]
// of the same file counted, so that each new token is a pair of known ones that occurs at least minFrequency times, and its merge follows
// those there are. Text in the languages the vocabulary was made for keeps its tokens where the new merges do not occur. A vocabulary with
// byte fallback gets the characters it lacks first. New ids follow the largest one; added tokens that the model's vocabulary lacks are
// entered there, as the libraries number them anew otherwise.
func Extend(file []byte, c *WordCounts, n, minFrequency int) (*Extension, error) {
	f, err := Parse(file)
	if err != nil {
		return nil, err
	}
	m, ok := f.model.(*bpe)
	if !ok || m.prefix+m.suffix != "" {
		return nil, fmt.Errorf("tokenize: only a BPE vocabulary without prefixes and suffixes can be extended")
	}
	if n < 1 {
		return nil, fmt.Errorf("tokenize: %d tokens to add; ask for 1 or more", n)
	}
	first := len(f.byID)
	l := &learner{spell: append([]string(nil), f.byID...), ids: map[string]int32{}, vocabSize: first + n,
		minFrequency: int64(max(minFrequency, 1))}
	for tok, id := range m.vocab {
		l.ids[tok] = id
	}
	for _, t := range f.added {
		l.ids[t.content] = t.id
	}
	whole := f.apart(m)
	words := c.sorted()
	var chars []string
	if !m.byteLevel {
		chars = missingChars(c, words, m, l.minFrequency, n)
		for _, x := range chars {
			l.ids[x] = int32(len(l.spell))
			l.spell = append(l.spell, x)
		}
	}
	for _, w := range words {
		if ids := l.cut(m, w, len(chars) > 0, whole); len(ids) > 1 {
			l.words, l.counts = append(l.words, ids), append(l.counts, c.m[w])
		}
	}
	skip := map[string]bool{}
	for id := range whole {
		if id >= 0 && int(id) < len(l.spell) {
			skip[l.spell[id]] = true
		}
	}
	l.join = func(a, b string) (string, bool) {
		if skip[a] || skip[b] {
			return "", false
		}
		_, known := f.addedIDs[a+b]
		return a + b, !known
	}
	l.run()
	if len(l.spell) == first {
		return nil, fmt.Errorf("tokenize: no pair of tokens occurs %d times in the corpus, so there is nothing to add", l.minFrequency)
	}
	e := &Extension{}
	for id := first; id < len(l.spell); id++ {
		t := NewToken{ID: int32(id), Text: l.spell[id]}
		text := t.Text
		if m.byteLevel {
			text, _ = unmapBytes(text)
		}
		var s scratch
		m.encode(&s, text)
		for i := int32(0); i >= 0 && len(s.syms) > 0; i = s.syms[i].next {
			t.Pieces = append(t.Pieces, s.syms[i].id)
		}
		e.Tokens = append(e.Tokens, t)
	}
	e.File, err = extendFile(file, f, l, first)
	return e, err
}

// apart are the tokens that take no part in merges: added ones, bytes of fallback and the unknown one.
func (f *Fast) apart(m *bpe) map[int32]bool {
	out := map[int32]bool{}
	for _, t := range f.added {
		out[t.id] = true
	}
	if m.byteFallback {
		for _, id := range m.byteID {
			out[id] = true
		}
	}
	if m.unk >= 0 {
		out[m.unk] = true
	}
	return out
}

// cut is a word as the old vocabulary cuts it; with chars a character that is new is a token in place of those of whole that it was.
func (l *learner) cut(m *bpe, w string, chars bool, whole map[int32]bool) []int32 {
	var s scratch
	m.encode(&s, w)
	var ids []int32
	pos := 0
	for i := int32(0); i >= 0 && len(s.syms) > 0; i = s.syms[i].next {
		y := s.syms[i]
		if chars && whole[y.id] && pos < len(w) && utf8.RuneStart(w[pos]) {
			_, k := utf8.DecodeRuneInString(w[pos:])
			if id, ok := l.ids[w[pos:pos+k]]; ok {
				ids = append(ids, id)
				pos += k
				for y.n > 0 && i >= 0 { // the character's bytes
					k -= int(y.n)
					if k <= 0 {
						break
					}
					i = s.syms[i].next
					y = s.syms[i]
				}
				continue
			}
		}
		ids = append(ids, y.id)
		pos += int(y.n)
	}
	return ids
}

// missingChars lists the characters that the vocabulary lacks and that occur often enough, the most frequent first, at most n.
func missingChars(c *WordCounts, words []string, m *bpe, atLeast int64, n int) []string {
	counts := map[string]int64{}
	for _, w := range words {
		for _, r := range w {
			if x := string(r); r != utf8.RuneError {
				if _, ok := m.vocab[x]; !ok {
					counts[x] += c.m[w]
				}
			}
		}
	}
	var out []string
	for x, k := range counts {
		if k >= atLeast && strings.TrimSpace(x) != "" {
			out = append(out, x)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if counts[out[i]] != counts[out[j]] {
			return counts[out[i]] > counts[out[j]]
		}
		return out[i] < out[j]
	})
	return out[:min(len(out), n)]
}

// extendFile enters the new tokens and merges, and leaves everything else as it is.
func extendFile(file []byte, f *Fast, l *learner, first int) ([]byte, error) {
	top, err := jinja.FromJSON(file)
	if err != nil {
		return nil, err
	}
	x, _ := top.(*jinja.Dict).Get("model")
	model := x.(*jinja.Dict)
	x, _ = model.Get("vocab")
	vocab := x.(*jinja.Dict)
	for _, t := range f.added {
		if _, ok := vocab.Get(t.content); !ok {
			vocab.Set(t.content, int64(t.id))
		}
	}
	for id := first; id < len(l.spell); id++ {
		vocab.Set(l.spell[id], int64(id))
	}
	x, _ = model.Get("merges")
	merges := x.(*jinja.List)
	asText := len(merges.Items) > 0
	if asText {
		_, asText = merges.Items[0].(string)
	}
	for _, p := range l.distinct() {
		a, b := l.spell[p[0]], l.spell[p[1]]
		if asText {
			merges.Items = append(merges.Items, a+" "+b)
		} else {
			merges.Items = append(merges.Items, newList(a, b))
		}
	}
	data, err := toJSON(top)
	if err != nil {
		return nil, err
	}
	if _, err := Parse(data); err != nil {
		return nil, fmt.Errorf("tokenize: the extended file: %w", err)
	}
	return data, nil
}

func newObject(kv ...any) *jinja.Dict {
	d := jinja.NewDict()
	for i := 0; i+1 < len(kv); i += 2 {
		d.Set(kv[i], kv[i+1])
	}
	return d
}

func newList(items ...any) *jinja.List { return &jinja.List{Items: items} }

func toJSON(v any) ([]byte, error) { return jinja.ToJSON(v, 2) }
