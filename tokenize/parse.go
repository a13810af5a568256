package tokenize

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// maxVocab bounds ids, so that a damaged file cannot ask for all memory.
const maxVocab = 1 << 24

// Parse reads the bytes of a tokenizer.json. Any component or field that the
// engine does not implement is an error that names it. The file's truncation and
// padding are checked and recorded ([Fast.Recorded]), not applied: callers cut and pack by themselves.
func Parse(data []byte) (*Fast, error) {
	if err := shallow(data); err != nil {
		return nil, err
	}
	top, err := val{"", data}.object()
	if err != nil {
		var x any
		if err := json.Unmarshal(data, &x); err != nil {
			return nil, fmt.Errorf("not valid JSON: %w", err)
		}
		return nil, err
	}
	go classTable() // which the first text needs
	sum := sha256.Sum256(data)
	f := &Fast{hash: hex.EncodeToString(sum[:]), special: noSpecial}
	if v := top.strOr("version", "1.0"); v != "1.0" {
		return nil, fmt.Errorf("version %q is not supported (supported: 1.0)", v)
	}
	if err := f.recorded.read(top); err != nil {
		return nil, err
	}
	if f.pre, err = parsePre(top.take("pre_tokenizer"), nil); err != nil {
		return nil, err
	}
	byteLevel := false
	for _, p := range f.pre {
		byteLevel = byteLevel || p.kind == preByteLevel
	}
	if f.model, err = parseModel(top.take("model"), byteLevel); err != nil {
		return nil, err
	}
	f.vocab = f.model.ids()
	if b, ok := f.model.(*bpe); ok && len(f.pre) == 0 || ok && f.pre[len(f.pre)-1].kind == preMetaspace {
		f.cut = b.cuts
	}
	if f.norm, err = parseNormalizer(top.take("normalizer")); err != nil {
		return nil, err
	}
	for _, p := range f.pre {
		f.needOrig = f.needOrig || f.norm != nil && p.kind == preMetaspace && p.meta.scheme == "first"
	}
	if f.added, err = parseAdded(top.take("added_tokens"), f.model.ids()); err != nil {
		return nil, err
	}
	if err := f.index(); err != nil {
		return nil, err
	}
	if err := parsePost(top.take("post_processor"), &f.post, f.TokenToID); err != nil {
		return nil, err
	}
	for _, id := range append(append([]int32(nil), f.post.before...), f.post.after...) {
		if _, ok := f.IDToToken(id); !ok {
			return nil, fmt.Errorf("post_processor adds id %d, which is not in the vocabulary", id)
		}
	}
	if f.decoder, err = parseDecoder(top.take("decoder")); err != nil {
		return nil, err
	}
	return f, top.done()
}

// index makes the tables of spellings and of added tokens.
func (f *Fast) index() error {
	top := int32(len(f.model.spellings())) - 1
	for tok, id := range f.vocab {
		if id < 0 || id >= maxVocab {
			return fmt.Errorf("model.vocab: token %q has id %d, out of range", tok, id)
		}
		top = max(top, id)
	}
	for _, t := range f.added {
		if len(t.content) > maxAddedBytes {
			return fmt.Errorf("added_tokens: token %d has %d bytes, more than %d", t.id, len(t.content), maxAddedBytes)
		}
		top = max(top, t.id)
	}
	f.byID, f.known = make([]string, top+1), make([]bool, top+1)
	for tok, id := range f.vocab {
		if f.known[id] {
			return fmt.Errorf("model.vocab: id %d is given to more than one token, %q among them", id, max(tok, f.byID[id]))
		}
		f.byID[id], f.known[id] = tok, true
	}
	for id, tok := range f.model.spellings() {
		f.byID[id], f.known[id] = tok, true
	}
	f.addedIDs, f.skip, f.raw, f.normed = map[string]int32{}, map[string]bool{}, trie{}, trie{}
	for i := range f.added {
		t := &f.added[i]
		f.byID[t.id], f.known[t.id] = t.content, true
		f.addedIDs[t.content] = t.id
		if t.special {
			f.skip[t.content] = true
		}
		if !t.normalized {
			f.raw.add(t.content, t)
			continue
		}
		text := t.content
		if f.norm != nil {
			g, err := f.norm.normalize(seg{s: text}, false)
			if err != nil {
				return err
			}
			text = g.s
		}
		f.normed.add(text, t)
	}
	return nil
}

// readBPE reads a BPE model.
func readBPE(o *obj, byteLevel bool) (model, error) {
	var dropout float64
	if o.get("dropout", false, &dropout) && dropout != 0 {
		return nil, fmt.Errorf("model.dropout is %v; it makes encoding random and is not supported: set it to null", dropout)
	}
	prefix, suffix := o.strOr("continuing_subword_prefix", ""), o.strOr("end_of_word_suffix", "")
	unk := o.strOr("unk_token", "")
	fuse, fallback, ignore := o.boolean("fuse_unk", false), o.boolean("byte_fallback", false), o.boolean("ignore_merges", false)
	var vocab map[string]int32
	var merges [][2]string
	var err error
	lines, done := o.take("merges"), make(chan struct{})
	go func() { // half of a tokenizer.json is merges, half vocabulary
		merges, err = parseMerges(lines)
		close(done)
	}()
	o.get("vocab", true, &vocab)
	<-done
	if err != nil {
		return nil, err
	}
	if o.err != nil {
		return nil, o.err
	}
	m, err := newBPE(vocab, merges, byteLevel, prefix, suffix)
	if err != nil {
		return nil, err
	}
	m.fuseUnk = fuse
	if fallback && byteLevel {
		return nil, fmt.Errorf("model.byte_fallback with a ByteLevel pre-tokenizer is not supported")
	}
	m.byteFallback = fallback
	if ignore {
		m.buildWords()
	}
	if unk != "" {
		id, ok := vocab[unk]
		if !ok {
			return nil, fmt.Errorf("model.unk_token %q is not in model.vocab", unk)
		}
		m.unk = id
	}
	// A word may be cut where no merge reaches across; but unknown characters on both sides would have become one token, and a whole word
	// one of its own.
	if _, meta := vocab[string(metaRune)]; !byteLevel && prefix+suffix == "" && !ignore && meta && !joinsBytes(merges) {
		m.cuts = newCutter(merges, m.unk < 0 || !fuse || fallback && m.allBytes)
	}
	return m, nil
}

// joinsBytes tells whether a merge joins bytes of a character that has no token.
func joinsBytes(merges [][2]string) bool {
	for _, p := range merges {
		if isByteToken(p[0]) || isByteToken(p[1]) {
			return true
		}
	}
	return false
}

func isByteToken(s string) bool { return len(s) == 6 && s[:3] == "<0x" && s[5] == '>' }

// parseMerges reads merges as pairs, or as strings with one space (older files).
func parseMerges(v val) ([][2]string, error) {
	var pairs [][2]string
	if v.decode(&pairs) == nil {
		return pairs, nil
	}
	var lines []string
	if err := v.decode(&lines); err != nil {
		return nil, err
	}
	pairs = make([][2]string, len(lines))
	for i, l := range lines {
		a, b, ok := strings.Cut(l, " ")
		if !ok || a == "" || b == "" || strings.Contains(b, " ") {
			return nil, fmt.Errorf("%s[%d]: %q is not two tokens with a space between", v.path, i, l)
		}
		pairs[i] = [2]string{a, b}
	}
	return pairs, nil
}
