package jinja

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

func toText(f func(string) string) builtin {
	return func(r *run, v any, _ *params) (any, error) {
		s, err := r.str(v)
		if err != nil {
			return nil, err
		}
		if err := r.mapping(len(s)); err != nil {
			return nil, err
		}
		return r.newString(f(s))
	}
}

var htmlEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")

func escape(s string) string { return htmlEscapes.Replace(s) }

func same(s string) string { return s }

func urlEncode(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(s), "+", "%20"), "%2F", "/")
}

// titleWords is the filter title, which begins a word after a space or an opening bracket.
func titleWords(s string) string {
	var sb strings.Builder
	begin := true
	for _, c := range s {
		switch {
		case c < utf8.RuneSelf && begin:
			sb.WriteRune(unicode.ToUpper(c))
		case c < utf8.RuneSelf:
			sb.WriteRune(unicode.ToLower(c))
		case begin:
			sb.WriteString(upper(string(c)))
		default:
			sb.WriteString(lower(string(c)))
		}
		begin = space(c) || strings.ContainsRune("-({[<", c)
	}
	return sb.String()
}

func filterCenter(r *run, v any, p *params) (any, error) {
	w := p.get(0, "width", int64(80))
	s, err := r.str(v)
	if err != nil {
		return nil, err
	}
	return stringMethods["center"](r, s, &params{name: "center", pos: []any{w}, kw: NewDict()})
}

func filterFormat(r *run, v any, p *params) (any, error) {
	s, err := r.str(v)
	if err != nil {
		return nil, err
	}
	if p.kw.Len() > 0 {
		return r.percent(s, p.kw)
	}
	return r.percent(s, &List{p.pos, true})
}

func filterIndent(r *run, v any, p *params) (any, error) {
	s, err := r.str(v)
	if err != nil {
		return nil, err
	}
	in := p.get(0, "width", int64(4))
	pad, ok := in.(string)
	if !ok {
		n, _, _, _ := number(in)
		if n < 0 || n > 1<<16 {
			return nil, limit("an indent of %d", n)
		}
		pad = strings.Repeat(" ", int(n))
	}
	n := strings.Count(s, "\n") + 1
	if err := r.times(n, len(pad)+itemSize); err != nil {
		return nil, err
	}
	if err := r.times(len(s), 2); err != nil {
		return nil, err
	}
	lines := strings.Split(s, "\n")
	blank := truth(p.get(2, "blank", false))
	for i := range lines {
		if (i > 0 || truth(p.get(1, "first", false))) && (blank || lines[i] != "" || i == 0) {
			lines[i] = pad + lines[i]
		}
	}
	return strings.Join(lines, "\n"), nil
}

func filterJoin(r *run, v any, p *params) (any, error) {
	l, err := r.items(v)
	if err != nil {
		return nil, err
	}
	get := r.getter(p.get(1, "attribute", nil), nil)
	sep, err := p.text(r, 0, "d", "")
	if err != nil {
		return nil, err
	}
	w := &writer{r: r}
	for i, x := range l {
		a, err := get(x)
		if err != nil {
			return nil, err
		}
		t, err := r.str(a)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			w.add(sep)
		}
		if w.add(t); w.err != nil {
			return nil, w.err
		}
	}
	return w.text()
}

func filterReplace(r *run, v any, p *params) (any, error) {
	n := -1
	if c := p.get(2, "count", nil); c != nil {
		i, _, _, _ := number(c)
		n = int(i)
	}
	var text [3]string
	for i, x := range []any{v, p.get(0, "old", ""), p.get(1, "new", "")} {
		var err error
		if text[i], err = r.str(x); err != nil {
			return nil, err
		}
	}
	return r.replace(text[0], text[1], text[2], n)
}

func filterTrim(r *run, v any, p *params) (any, error) {
	s, err := r.str(v)
	if err != nil {
		return nil, err
	}
	return stringMethods["strip"](r, s, &params{name: "strip", pos: []any{p.get(0, "chars", nil)}, kw: NewDict()})
}

func filterTruncate(r *run, v any, p *params) (any, error) {
	n, err := p.whole(0, "length", 255)
	if err != nil {
		return nil, err
	}
	leeway, err := p.whole(3, "leeway", 5)
	if err != nil {
		return nil, err
	}
	s, err := r.str(v)
	if err != nil {
		return nil, err
	}
	tail, err := p.text(r, 2, "end", "...")
	if err != nil {
		return nil, err
	}
	if err := r.times(len(s), 6); err != nil {
		return nil, err
	}
	l := []rune(s)
	if len(l) <= n+leeway {
		return string(l), nil
	}
	cut := string(l[:max(n-utf8.RuneCountInString(tail), 0)])
	if !truth(p.get(1, "killwords", false)) {
		if i := strings.LastIndexByte(cut, ' '); i >= 0 {
			cut = cut[:i]
		}
	}
	return r.newString(cut + tail)
}

func filterWordcount(r *run, v any, _ *params) (any, error) {
	s, err := r.str(v)
	if err == nil {
		err = r.touch(len(s) / 4)
	}
	if err != nil {
		return nil, err
	}
	n, in := int64(0), false
	for _, c := range s {
		w := c == '_' || isAlnum(c)
		if w && !in {
			n++
		}
		in = w
	}
	return n, nil
}
