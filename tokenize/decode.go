package tokenize

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoder turns the spellings of tokens into pieces of text.
type decoder interface {
	decode(toks []string) []string
}

type decByteLevel struct{}

func (decByteLevel) decode(toks []string) []string {
	var raw []byte
	for _, t := range toks {
		from := len(raw)
		for _, r := range t {
			if int(r) >= len(runeByte) || runeByte[r] < 0 {
				raw = append(raw[:from], t...)
				break
			}
			raw = append(raw, byte(runeByte[r]))
		}
	}
	return []string{string(appendLossy(nil, raw))}
}

type decByteFallback struct{}

func (decByteFallback) decode(toks []string) []string {
	var out []string
	var raw []byte
	flush := func() {
		if len(raw) == 0 {
			return
		}
		if utf8.Valid(raw) {
			out = append(out, string(raw))
		} else {
			for range raw {
				out = append(out, "\uFFFD")
			}
		}
		raw = raw[:0]
	}
	for _, t := range toks {
		if len(t) == 6 && strings.HasPrefix(t, "<0x") && t[5] == '>' {
			if b, err := strconv.ParseUint(t[3:5], 16, 8); err == nil {
				raw = append(raw, byte(b))
				continue
			}
		}
		flush()
		out = append(out, t)
	}
	flush()
	return out
}

type decFuse struct{}

func (decFuse) decode(toks []string) []string { return []string{strings.Join(toks, "")} }

type decReplace struct{ old, new string }

func (d decReplace) decode(toks []string) []string {
	out := make([]string, len(toks))
	for i, t := range toks {
		out[i] = t // where it would grow out of proportion
		if n := replaced(len(t), strings.Count(t, d.old), len(d.old), len(d.new)); n <= max(len(t), growFree) {
			out[i] = strings.ReplaceAll(t, d.old, d.new)
		}
	}
	return out
}

// decStrip takes at most start characters off the front and stop off the end.
type decStrip struct {
	content     string
	start, stop int
}

func (d decStrip) decode(toks []string) []string {
	out := make([]string, len(toks))
	for i, t := range toks {
		for k := 0; k < d.start && strings.HasPrefix(t, d.content); k++ {
			t = t[len(d.content):]
		}
		for k := 0; k < d.stop && strings.HasSuffix(t, d.content); k++ {
			t = t[:len(t)-len(d.content)]
		}
		out[i] = t
	}
	return out
}

type decMetaspace struct {
	rep    string
	prefix bool
}

func (d decMetaspace) decode(toks []string) []string {
	out := make([]string, len(toks))
	for i, t := range toks {
		to := " "
		if i == 0 && d.prefix {
			to = ""
		}
		out[i] = strings.ReplaceAll(t, d.rep, to)
	}
	return out
}

// decReplaceRegex puts content in place of each match; a text on which the pattern gives up stays.
type decReplaceRegex struct {
	find    finder
	content string
}

func (d decReplaceRegex) decode(toks []string) []string {
	out := make([]string, len(toks))
	for i, t := range toks {
		g, err := normReplaceRegex(d).normalize(seg{s: t}, false)
		if err != nil || len(g.s) > max(len(t), growFree) {
			g.s = t
		}
		out[i] = g.s
	}
	return out
}

// decWordPiece joins the parts of words and sets words apart; cleanup takes spaces before punctuation out.
type decWordPiece struct {
	prefix  string
	cleanup bool
}

// cleanups are WordPiece's repairs, each over the result of the one before it.
var cleanups = [][2]string{{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"},
	{" do not", " don't"}, {" 's", "'s"},
	{" 've", "'ve"}, {" 're", "'re"}}

func cleanup(s string) string {
	for _, c := range cleanups {
		s = strings.ReplaceAll(s, c[0], c[1])
	}
	return s
}

func (d decWordPiece) decode(toks []string) []string {
	out := make([]string, len(toks))
	for i, t := range toks {
		if i > 0 {
			if rest, ok := strings.CutPrefix(t, d.prefix); ok {
				t = rest
			} else {
				t = " " + t
			}
		}
		if d.cleanup {
			t = cleanup(t)
		}
		out[i] = t
	}
	return out
}

// decBPE makes the end of word a space.
type decBPE struct{ suffix string }

func (d decBPE) decode(toks []string) []string {
	out := make([]string, len(toks))
	for i, t := range toks {
		to := " "
		if i+1 == len(toks) {
			to = ""
		}
		out[i] = strings.ReplaceAll(t, d.suffix, to)
	}
	return out
}

// decCTC takes out repeated tokens and the padding, as speech models need.
type decCTC struct {
	pad, delimiter string
	cleanup        bool
}

func (d decCTC) decode(toks []string) []string {
	var out []string
	for i, t := range toks {
		if i > 0 && t == toks[i-1] {
			continue
		}
		t = strings.ReplaceAll(t, d.pad, "")
		if d.cleanup {
			t = strings.ReplaceAll(cleanup(t), d.delimiter, " ")
		}
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}

type decSequence []decoder

func (d decSequence) decode(toks []string) []string {
	for _, x := range d {
		toks = x.decode(toks)
	}
	return toks
}

// parseDecoder reads the decoder.
func parseDecoder(v val) (decoder, error) {
	if v.null() {
		return nil, nil
	}
	o, err := v.object()
	if err != nil {
		return nil, err
	}
	var d decoder
	switch kind := o.str("type"); kind {
	case "ByteLevel":
		for _, k := range []string{"add_prefix_space", "trim_offsets", "use_regex"} {
			o.boolean(k, true) // no meaning in a decoder
		}
		d = decByteLevel{}
	case "ByteFallback":
		d = decByteFallback{}
	case "Fuse":
		d = decFuse{}
	case "Replace":
		re, text, err := parsePattern(o.take("pattern"))
		if err != nil {
			return nil, err
		}
		if text == "" {
			return nil, fmt.Errorf("%s.pattern is empty", v.path)
		}
		content := o.str("content")
		d = decReplace{text, content}
		if re {
			find, err := findRegex(text, true)
			if err != nil {
				return nil, fmt.Errorf("%s.pattern: %w", v.path, err)
			}
			d = decReplaceRegex{find, content}
		}
	case "WordPiece":
		d = decWordPiece{o.strOr("prefix", "##"), o.boolean("cleanup", true)}
	case "BPEDecoder":
		d = decBPE{o.strOr("suffix", "</w>")}
	case "CTC":
		d = decCTC{o.strOr("pad_token", "<pad>"), o.strOr("word_delimiter_token", "|"), o.boolean("cleanup", true)}
	case "Strip":
		s := decStrip{o.str("content"), o.integer("start"), o.integer("stop")}
		d = s
	case "Metaspace":
		rep, scheme, _, err := parseMetaspace(o)
		if err != nil {
			return nil, err
		}
		d = decMetaspace{rep, scheme != "never"}
	case "Sequence":
		list, err := o.take("decoders").list()
		if err != nil {
			return nil, err
		}
		var seq decSequence
		for _, e := range list {
			x, err := parseDecoder(e)
			if err != nil {
				return nil, err
			}
			seq = append(seq, x)
		}
		d = seq
	default:
		if o.err != nil {
			return nil, o.err
		}
		return nil, unsupported(v.path, kind, "BPEDecoder, ByteFallback, ByteLevel, CTC, Fuse, Metaspace, Replace, Sequence, Strip, "+
			"WordPiece")
	}
	return d, o.done()
}
