package jinja

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

func split(right bool) stringMethod {
	return func(r *run, s string, p *params) (any, error) {
		n, err := p.whole(1, "maxsplit", -1)
		if err != nil {
			return nil, err
		}
		var parts []string
		switch sep := p.get(0, "sep", nil).(type) {
		case nil:
			if err := r.touch(len(s) / 4); err != nil {
				return nil, err
			}
			if err := r.times(strings.Count(s, " ")+1, itemSize); err != nil {
				return nil, err
			}
			if right {
				parts = splitSpaceRight(s, n)
			} else {
				parts = splitSpace(s, n)
			}
		case string:
			if sep == "" {
				return nil, &Error{Kind: "ValueError", Message: "empty separator"}
			}
			at, err := r.split(s, sep, n, right)
			if err != nil {
				return nil, err
			}
			if err := r.room(len(at) + 1); err != nil {
				return nil, err
			}
			parts = cut(s, at, len(sep))
		default:
			return nil, fmt.Errorf("must be str or None, not %s", typeName(sep))
		}
		return r.texts(parts)
	}
}

// split are the places at which a text is split: all where n < 0, else the first n, or the last.
func (r *run) split(s, sep string, n int, right bool) ([]int, error) {
	if !right || n < 0 {
		return r.positions(s, sep, n)
	}
	// Found from the right, since they might overlap.
	var at []int
	for rest := s; n > 0; n-- {
		i, err := r.findLast(rest, sep)
		if err != nil || i < 0 {
			slices.Reverse(at)
			return at, err
		}
		if err := r.charge(16); err != nil {
			return nil, err
		}
		at, rest = append(at, i), rest[:i]
	}
	slices.Reverse(at)
	return at, nil
}

func (r *run) texts(parts []string) (any, error) {
	if err := r.room(len(parts)); err != nil {
		return nil, err
	}
	l := make([]any, len(parts))
	for i, x := range parts {
		l[i] = x
	}
	return &List{Items: l}, nil
}

func splitSpace(s string, n int) (out []string) {
	s = strings.TrimLeftFunc(s, space)
	for s != "" {
		i := strings.IndexFunc(s, space)
		if i < 0 || n == 0 {
			return append(out, s)
		}
		out = append(out, s[:i])
		s = strings.TrimLeftFunc(s[i:], space)
		n--
	}
	return out
}

func splitSpaceRight(s string, n int) (out []string) {
	s = strings.TrimRightFunc(s, space)
	for s != "" {
		i := strings.LastIndexFunc(s, space)
		if i < 0 || n == 0 {
			out = append(out, s)
			break
		}
		_, m := utf8.DecodeRuneInString(s[i:])
		out = append(out, s[i+m:])
		s = strings.TrimRightFunc(s[:i], space)
		n--
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

func textSplitLines(r *run, s string, p *params) (any, error) {
	keep := truth(p.get(0, "keepends", false))
	if err := r.touch(len(s)); err != nil {
		return nil, err
	}
	var parts []string
	for s != "" {
		if err := r.charge(itemSize); err != nil {
			return nil, err
		}
		i := strings.IndexAny(s, "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029")
		if i < 0 {
			parts = append(parts, s)
			break
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			n = 2
		}
		if keep {
			parts = append(parts, s[:i+n])
		} else {
			parts = append(parts, s[:i])
		}
		s = s[i+n:]
	}
	return r.texts(parts)
}

func textPartition(r *run, s string, p *params) (any, error) {
	i, sep, err := r.border(s, p, (*run).find)
	if err != nil {
		return nil, err
	}
	if i < 0 {
		return &List{[]any{s, "", ""}, true}, nil
	}
	return &List{[]any{s[:i], sep, s[i+len(sep):]}, true}, nil
}

func textRightPartition(r *run, s string, p *params) (any, error) {
	i, sep, err := r.border(s, p, (*run).findLast)
	if err != nil {
		return nil, err
	}
	if i < 0 {
		return &List{[]any{"", "", s}, true}, nil
	}
	return &List{[]any{s[:i], sep, s[i+len(sep):]}, true}, nil
}

// border finds where partition and rpartition part a text.
func (r *run) border(s string, p *params, index func(r *run, s, x string) (int, error)) (int, string, error) {
	sep, err := p.text(r, 0, "sep", "")
	if err != nil {
		return 0, "", err
	}
	if sep == "" {
		return 0, "", &Error{Kind: "ValueError", Message: "empty separator"}
	}
	if err := r.room(3); err != nil {
		return 0, "", err
	}
	i, err := index(r, s, sep)
	return i, sep, err
}
