package jinja

import (
	"slices"
	"strings"
)

// longNeedle is from where on texts that are searched for are searched by their borders: strings.Index may look at a long one again at
// every place, which takes the product of both lengths.
const longNeedle = 64

// positions are the places of sub in s, one after another, at most n (all where n < 0).
func (r *run) positions(s, sub string, n int) ([]int, error) {
	if err := r.read(len(s) + len(sub)); err != nil {
		return nil, err
	}
	var out []int
	add := func(i int) error {
		out = append(out, i)
		return r.charge(16)
	}
	if len(sub) < longNeedle {
		for from := 0; n < 0 || len(out) < n; {
			i := strings.Index(s[from:], sub)
			if i < 0 {
				break
			}
			if err := add(from + i); err != nil {
				return nil, err
			}
			from += i + len(sub)
		}
		return out, nil
	}
	if len(sub) > len(s) {
		return nil, nil
	}
	// Knuth, Morris and Pratt: border[i] is the length of the longest proper prefix of sub[:i+1] that is also its end.
	if err := r.times(len(sub), 8); err != nil {
		return nil, err
	}
	border := make([]int, len(sub))
	for i, k := 1, 0; i < len(sub); i++ {
		for k > 0 && sub[i] != sub[k] {
			k = border[k-1]
		}
		if sub[i] == sub[k] {
			k++
		}
		border[i] = k
	}
	if err := r.touch((len(s) + len(sub)) / 4); err != nil {
		return nil, err
	}
	for i, k := 0, 0; i < len(s) && (n < 0 || len(out) < n); i++ {
		for k > 0 && s[i] != sub[k] {
			k = border[k-1]
		}
		if s[i] == sub[k] {
			k++
		}
		if k == len(sub) {
			if err := add(i + 1 - k); err != nil {
				return nil, err
			}
			k = 0
		}
	}
	return out, nil
}

// find is strings.Index.
func (r *run) find(s, sub string) (int, error) {
	if len(sub) == 0 {
		return 0, nil
	}
	at, err := r.positions(s, sub, 1)
	if err != nil || len(at) == 0 {
		return -1, err
	}
	return at[0], nil
}

// findLast is strings.LastIndex.
func (r *run) findLast(s, sub string) (int, error) {
	if len(sub) < longNeedle {
		return strings.LastIndex(s, sub), r.read(len(s))
	}
	// The first place in the texts from their ends.
	if err := r.times(2, len(s)); err != nil {
		return 0, err
	}
	i, err := r.find(backwards(s), backwards(sub))
	if err != nil || i < 0 {
		return -1, err
	}
	return len(s) - i - len(sub), nil
}

func backwards(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

// cut is strings.Split of what positions found.
func cut(s string, at []int, width int) []string {
	out := make([]string, 0, len(at)+1)
	from := 0
	for _, i := range at {
		out = append(out, s[from:i])
		from = i + width
	}
	return append(out, s[from:])
}
