package tokenize

import (
	"container/heap"
	"fmt"
	"sort"
	"strings"
)

// WordCounts counts the words of a corpus, as a tokenizer's normalizer and pre-tokenizer cut it. Memory grows with the different words, not
// with the corpus. It is for one goroutine; count in several and [WordCounts.Merge].
type WordCounts struct {
	f *Fast
	m map[string]int64
}

// CountWords begins a count of words as f cuts them; its model and added tokens take no part.
func CountWords(f *Fast) *WordCounts { return &WordCounts{f, map[string]int64{}} }

// Add counts the words of a text, which must be valid UTF-8.
func (c *WordCounts) Add(text string) error {
	if err := validUTF8(text); err != nil {
		return err
	}
	w := c.f.get()
	defer c.f.put(w)
	w.track = c.f.needOrig
	w.visit = func(word string) {
		if n, ok := c.m[word]; ok {
			c.m[word] = n + 1
		} else {
			c.m[strings.Clone(word)] = 1
		}
	}
	defer func() { w.visit = nil }()
	g := seg{s: text}
	if c.f.norm != nil {
		var err error
		if g, err = c.f.norm.normalize(g, w.track); err != nil {
			return err
		}
	}
	if g.s == "" {
		return nil
	}
	return w.pre(0, g)
}

// Merge adds the counts of o.
func (c *WordCounts) Merge(o *WordCounts) {
	for w, n := range o.m {
		c.m[w] += n
	}
}

// Len is the number of different words.
func (c *WordCounts) Len() int { return len(c.m) }

// sorted lists the words in order.
func (c *WordCounts) sorted() []string {
	out := make([]string, 0, len(c.m))
	for w := range c.m {
		out = append(out, w)
	}
	sort.Strings(out)
	return out
}

// learner makes merges as Hugging Face tokenizers' BpeTrainer does: of all adjacent pairs the one that occurs most often, of equal ones
// that of the smallest ids, until there are vocabSize tokens or no pair occurs minFrequency times. Its queue holds a pair once for each
// merge that made new places for it, and a pair's count stays after it was merged, as there; so a pair may be merged twice.
type learner struct {
	words        [][]int32
	counts       []int64
	spell        []string
	ids          map[string]int32
	vocabSize    int
	minFrequency int64
	join         func(a, b string) (string, bool) // the spelling of a pair; false: it is never merged

	merges [][2]int32
	made   []int32 // the token of each merge
}

type mergePair [2]int32

type candidate struct {
	pair  mergePair
	count int64
	where []int32
}

type candidates []candidate

func (q candidates) Len() int { return len(q) }
func (q candidates) Less(i, j int) bool {
	a, b := &q[i], &q[j]
	if a.count != b.count {
		return a.count > b.count
	}
	if a.pair[0] != b.pair[0] {
		return a.pair[0] < b.pair[0]
	}
	return a.pair[1] < b.pair[1]
}
func (q candidates) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *candidates) Push(x any)   { *q = append(*q, x.(candidate)) }
func (q *candidates) Pop() any {
	n := len(*q) - 1
	x := (*q)[n]
	*q = (*q)[:n]
	return x
}

func (l *learner) run() {
	counts := map[mergePair]int64{}
	where := map[mergePair][]int32{}
	at := func(p mergePair, word int32) {
		if w := where[p]; len(w) == 0 || w[len(w)-1] != word {
			where[p] = append(w, word)
		}
	}
	for i, w := range l.words {
		for k := 0; k+1 < len(w); k++ {
			p := mergePair{w[k], w[k+1]}
			counts[p] += l.counts[i]
			at(p, int32(i))
		}
	}
	q := &candidates{}
	for p, w := range where {
		*q = append(*q, candidate{p, counts[p], w})
	}
	heap.Init(q)
	clear(where)
	for len(l.spell) < l.vocabSize && q.Len() > 0 {
		top := heap.Pop(q).(candidate)
		if n := counts[top.pair]; n != top.count {
			top.count = n
			heap.Push(q, top)
			continue
		}
		if top.count < 1 || top.count < l.minFrequency {
			break
		}
		tok, ok := l.join(l.spell[top.pair[0]], l.spell[top.pair[1]])
		if !ok {
			continue
		}
		id, ok := l.ids[tok]
		if !ok {
			id = int32(len(l.spell))
			l.spell = append(l.spell, tok)
			l.ids[tok] = id
		}
		l.merges, l.made = append(l.merges, top.pair), append(l.made, id)
		for _, i := range top.where {
			change := func(p mergePair, by int64) {
				counts[p] += by * l.counts[i]
				if by > 0 {
					at(p, i)
				}
			}
			l.words[i] = mergeWord(l.words[i], top.pair, id, change)
		}
		for p, w := range where {
			if counts[p] > 0 {
				heap.Push(q, candidate{p, counts[p], w})
			}
		}
		clear(where)
	}
}

// mergeWord puts id in place of each pair, from the left, and tells what pairs go and come beside it.
func mergeWord(w []int32, p mergePair, id int32, change func(p mergePair, by int64)) []int32 {
	out := w[:0]
	for i := 0; i < len(w); i++ {
		if w[i] != p[0] || i+1 == len(w) || w[i+1] != p[1] {
			out = append(out, w[i])
			continue
		}
		if n := len(out); n > 0 {
			change(mergePair{out[n-1], p[0]}, -1)
			change(mergePair{out[n-1], id}, 1)
		}
		i++
		if i+1 < len(w) {
			change(mergePair{p[1], w[i+1]}, -1)
			change(mergePair{id, w[i+1]}, 1)
		}
		out = append(out, id)
	}
	return out
}

// distinct lists the merges with each pair once, at its last place, which is the one that counts.
func (l *learner) distinct() (pairs [][2]int32) {
	last := map[[2]int32]int{}
	for i, p := range l.merges {
		last[p] = i
	}
	for i, p := range l.merges {
		if last[p] == i {
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// BPETraining are the settings of a byte-level BPE vocabulary learned from a corpus, with the names of Hugging Face tokenizers' BpeTrainer.
type BPETraining struct {
	VocabSize     int      // special tokens and the 256 bytes included
	MinFrequency  int      // how often a pair must occur
	SpecialTokens []string // the first ids
}

// ByteLevel is a tokenizer without a vocabulary but the bytes, with GPT-2's pre-tokenizer: what [CountWords] needs to train a new one.
func ByteLevel() *Fast {
	data, err := (&BPETraining{VocabSize: 256}).file(nil)
	if err != nil {
		panic("tokenize: " + err.Error())
	}
	f, err := Parse(data)
	if err != nil {
		panic("tokenize: " + err.Error())
	}
	return f
}

// Train learns a vocabulary from the words that [ByteLevel] counted and returns the tokenizer.json: the same tokens, ids and merges as
// BpeTrainer with the bytes as initial_alphabet gives on the same text.
func (t BPETraining) Train(c *WordCounts) ([]byte, error) {
	if n := 256 + len(t.SpecialTokens); t.VocabSize < n {
		return nil, fmt.Errorf("tokenize: a vocabulary of %d has no room for 256 bytes and %d special tokens", t.VocabSize,
			len(t.SpecialTokens))
	}
	if len(c.m) == 0 {
		return nil, fmt.Errorf("tokenize: the corpus has no words")
	}
	return t.file(c)
}

func (t BPETraining) file(c *WordCounts) ([]byte, error) {
	l := &learner{ids: map[string]int32{}, vocabSize: t.VocabSize, minFrequency: int64(t.MinFrequency),
		join: func(a, b string) (string, bool) { return a + b, true }}
	add := func(tok string) {
		if _, ok := l.ids[tok]; !ok {
			l.ids[tok] = int32(len(l.spell))
			l.spell = append(l.spell, tok)
		}
	}
	for _, s := range t.SpecialTokens {
		add(s)
	}
	bytes := make([]int, 256)
	for b := range bytes {
		bytes[b] = b
	}
	sort.Slice(bytes, func(i, j int) bool { return byteRune[bytes[i]] < byteRune[bytes[j]] })
	for _, b := range bytes {
		add(string(byteRune[b]))
	}
	if c != nil {
		for _, w := range c.sorted() {
			ids := make([]int32, len(w))
			for i := range len(w) {
				ids[i] = l.ids[string(byteRune[w[i]])]
			}
			l.words, l.counts = append(l.words, ids), append(l.counts, c.m[w])
		}
		l.run()
	}
	vocab := newObject()
	for id, tok := range l.spell {
		vocab.Set(tok, int64(id))
	}
	merges := newList()
	for _, p := range l.distinct() {
		merges.Items = append(merges.Items, newList(l.spell[p[0]], l.spell[p[1]]))
	}
	added := newList()
	for i, s := range t.SpecialTokens {
		added.Items = append(added.Items, newObject("id", int64(i), "content", s, "single_word", false, "lstrip", false, "rstrip", false,
			"normalized", false, "special", true))
	}
	level := func(prefix, trim bool) any {
		return newObject("type", "ByteLevel", "add_prefix_space", prefix, "trim_offsets", trim, "use_regex", true)
	}
	return toJSON(newObject("version", "1.0", "truncation", nil, "padding", nil, "added_tokens", added, "normalizer", nil,
		"pre_tokenizer", level(false, true), "post_processor", level(true, false), "decoder", level(true, true),
		"model", newObject("type", "BPE", "dropout", nil, "unk_token", nil, "continuing_subword_prefix", nil, "end_of_word_suffix",
			nil, "fuse_unk", false,
			"byte_fallback", false, "ignore_merges", false, "vocab", vocab, "merges", merges)))
}
