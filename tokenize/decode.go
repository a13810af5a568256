package tokenize

import (
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
		out[i] = strings.ReplaceAll(t, d.old, d.new)
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
		if re || text == "" {
			return nil, unsupported(v.path+".pattern", "Regex", "String")
		}
		d = decReplace{text, o.str("content")}
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
		return nil, unsupported(v.path, kind, "ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Sequence, Strip")
	}
	return d, o.done()
}
