package grammar

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// A whole number between bounds is read digit by digit: the item's k is its magnitude so far.
const (
	wholeStart = iota
	wholeMinus
	wholeDigits
	wholeNegative // digits behind a minus
)

// mostWhole is the largest magnitude, of mostDigits digits.
const mostWhole = 999_999_999_999_999

// bounds are the keywords of numbers' bounds.
var bounds = []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}

// bounded says whether a schema bounds numbers, and by what.
func bounded(m map[string]jsontext.Value) (string, bool) {
	i := slices.IndexFunc(bounds, func(k string) bool { return m[k] != nil })
	if i < 0 {
		return "", false
	}
	return bounds[i], true
}

// whole is an integer between the bounds of a schema.
func whole(m map[string]jsontext.Value) (*node, error) {
	n := &node{kind: kindWhole, min: -mostWhole, max: mostWhole}
	for _, k := range bounds {
		if m[k] == nil {
			continue
		}
		var v float64
		if err := json.Unmarshal(m[k], &v); err != nil || math.Abs(v) > mostWhole {
			return nil, fmt.Errorf("%s must be a number of at most %d digits", k, mostDigits)
		}
		switch k {
		case "minimum":
			n.min = max(n.min, int(math.Ceil(v)))
		case "exclusiveMinimum":
			n.min = max(n.min, int(math.Floor(v))+1)
		case "maximum":
			n.max = min(n.max, int(math.Floor(v)))
		case "exclusiveMaximum":
			n.max = min(n.max, int(math.Ceil(v))-1)
		}
	}
	if n.min > n.max {
		return nil, fmt.Errorf("no whole number is between the bounds")
	}
	return n, nil
}

// ends says whether a number may end here.
func (i *item) ends() bool {
	switch {
	case i == done:
		return false
	case i.n.kind == kindNumber:
		return accepts(i.st)
	case i.n.kind == kindWhole:
		return i.st == wholeDigits && i.k >= i.n.min && i.k <= i.n.max || i.st == wholeNegative && -i.k >= i.n.min && -i.k <= i.n.max
	}
	return false
}

func feedWhole(to []*item, w *item, b byte) []*item {
	if b == '-' && w.st == wholeStart && w.n.min < 0 {
		return append(to, w.with(wholeMinus, 0))
	}
	if b >= '0' && b <= '9' && (w.st < wholeDigits || w.k > 0) {
		lo, hi, st := max(w.n.min, 0), w.n.max, wholeDigits
		if w.st == wholeMinus || w.st == wholeNegative {
			lo, hi, st = max(-w.n.max, 1), -w.n.min, wholeNegative
		}
		if k := w.k*10 + int(b-'0'); reaches(k, lo, hi) {
			to = append(to, w.with(st, k))
		}
		return to
	}
	if w.ends() {
		to = feed(to, w.next, b)
	}
	return to
}

// reaches says whether digits behind k, or none, make a number from lo to hi.
func reaches(k, lo, hi int) bool {
	for from, to := k, k; from <= hi; from, to = 10*from, 10*to+9 {
		if to >= lo {
			return true
		}
		if k == 0 {
			return false
		}
	}
	return false
}
