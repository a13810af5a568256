package settings

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// Bounds is an interval of numbers, and perhaps one more number beside it.
type Bounds struct {
	Low, High         float64 // infinite where there is no end
	LowOpen, HighOpen bool    // the end itself is outside
	Or                *float64
	whole             bool
}

// parseBounds reads the tags bounds and or. Tags are the program's own: a wrong one panics.
func parseBounds(f reflect.StructField, whole bool) *Bounds {
	text, or := f.Tag.Get("bounds"), f.Tag.Get("or")
	b := &Bounds{Low: math.Inf(-1), High: math.Inf(1), whole: whole}
	if text == "" {
		return b
	}
	number := func(s string, def float64) float64 {
		if s = strings.TrimSpace(s); s == "" {
			return def
		}
		x, err := strconv.ParseFloat(s, 64)
		if err != nil {
			panic(fmt.Sprintf("settings: bounds of %s: %q", f.Name, text))
		}
		return x
	}
	low, high, ok := strings.Cut(strings.Trim(text, "[]()"), ",")
	if !ok || !strings.ContainsAny(text[:1], "[(") || !strings.ContainsAny(text[len(text)-1:], "])") {
		panic(fmt.Sprintf("settings: bounds of %s: %q", f.Name, text))
	}
	b.Low, b.High = number(low, b.Low), number(high, b.High)
	b.LowOpen, b.HighOpen = text[0] == '(', text[len(text)-1] == ')'
	if or != "" {
		x := number(or, 0)
		b.Or = &x
	}
	return b
}

// limit gives a whole number without an upper end the one that all have.
func (b *Bounds) limit(kind reflect.Kind) {
	if b.whole && kind != reflect.Uint64 && math.IsInf(b.High, 1) {
		b.High, b.HighOpen = math.MaxInt32, false
	}
}

// side says where x lies: -1 below, 1 above, 0 within.
func (b *Bounds) side(x float64) int {
	switch {
	case b.Or != nil && x == *b.Or:
		return 0
	case !(x > b.Low || x == b.Low && !b.LowOpen):
		return -1
	case !(x < b.High || x == b.High && !b.HighOpen):
		return 1
	}
	return 0
}

// common says whether the upper end is the one that all whole numbers have.
func (b *Bounds) common() bool { return b.whole && b.High == math.MaxInt32 }

// Text says in words what a number must be, as "at least 1"; "" where any will do.
func (b *Bounds) Text() string {
	low, high := b.lower(), b.upper()
	if b.common() {
		high = ""
	}
	switch {
	case low != "" && high != "" && !b.LowOpen && !b.HighOpen:
		low, high = fmt.Sprintf("between %s and %s", figure(b.Low), figure(b.High)), ""
	case low != "" && high == "" && b.Low == 0 && !b.LowOpen:
		low = "0 or more"
	}
	text := low
	if high != "" {
		if text != "" {
			text += " and "
		}
		text += high
	}
	if b.Or != nil && text != "" {
		text += ", or " + figure(*b.Or)
	}
	return text
}

// want is what an error says of a number that lies to that side.
func (b *Bounds) want(side int) string {
	or := ""
	if b.Or != nil {
		or = ", or " + figure(*b.Or)
	}
	switch {
	case b.whole && side > 0:
		return "must be " + b.upper() + or
	case b.Low == 0 && !b.LowOpen && b.whole:
		return "must not be negative" + or
	case b.Low == 0 && !b.LowOpen && math.IsInf(b.High, 1):
		return "must be a finite number, not negative" + or
	case b.whole:
		return "must be " + b.lower() + or
	}
	return "must be " + b.Text()
}

func (b *Bounds) lower() string {
	switch {
	case math.IsInf(b.Low, -1):
		return ""
	case b.LowOpen:
		return "above " + figure(b.Low)
	case b.Low == 0 && !math.IsInf(b.High, 1):
		return "at least 0"
	}
	return "at least " + figure(b.Low)
}

func (b *Bounds) upper() string {
	switch {
	case math.IsInf(b.High, 1):
		return ""
	case b.HighOpen:
		return "below " + figure(b.High)
	}
	return "at most " + figure(b.High)
}

// figure writes a number without an exponent where it is a whole one.
func figure(x float64) string {
	if x == math.Trunc(x) && math.Abs(x) < 1e18 {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}
