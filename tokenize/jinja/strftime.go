package jinja

import (
	"fmt"
	"strings"
	"time"
)

// clockTexts are the directives of strftime that are a layout of Go's, in the C locale.
var clockTexts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'c': "Mon Jan _2 15:04:05 2006", 'D': "01/02/06", 'x': "01/02/06",
	'F': "2006-01-02", 'p': "PM", 'r': "03:04:05 PM", 'R': "15:04", 'T': "15:04:05", 'X': "15:04:05",
	'z': "", 'Z': "", // the clock of strftime_now is naive
}

// clockNumbers are the directives that are a number, and its format.
var clockNumbers = map[byte]struct {
	format string
	padded bool // glibc's %-d leaves the padding out
	of     func(t time.Time) int
}{
	'C': {"%02d", true, func(t time.Time) int { return t.Year() / 100 }},
	'd': {"%02d", true, time.Time.Day},
	'e': {"%2d", false, time.Time.Day},
	'f': {"%06d", false, func(t time.Time) int { return t.Nanosecond() / 1000 }},
	'G': {"%d", false, func(t time.Time) int { year, _ := t.ISOWeek(); return year }},
	'g': {"%02d", true, func(t time.Time) int { year, _ := t.ISOWeek(); return year % 100 }},
	'H': {"%02d", true, time.Time.Hour},
	'I': {"%02d", true, hour12},
	'j': {"%03d", true, time.Time.YearDay},
	'k': {"%2d", false, time.Time.Hour},
	'l': {"%2d", false, hour12},
	'm': {"%02d", true, func(t time.Time) int { return int(t.Month()) }},
	'M': {"%02d", true, time.Time.Minute},
	's': {"%d", false, func(t time.Time) int { return int(t.Unix()) }},
	'S': {"%02d", true, time.Time.Second},
	'u': {"%d", false, func(t time.Time) int { return (int(t.Weekday())+6)%7 + 1 }},
	'U': {"%02d", true, func(t time.Time) int { return (t.YearDay() + 6 - int(t.Weekday())) / 7 }},
	'V': {"%02d", true, func(t time.Time) int { _, week := t.ISOWeek(); return week }},
	'w': {"%d", false, func(t time.Time) int { return int(t.Weekday()) }},
	'W': {"%02d", true, func(t time.Time) int { return (t.YearDay() + 6 - (int(t.Weekday())+6)%7) / 7 }},
	'y': {"%02d", true, func(t time.Time) int { return t.Year() % 100 }},
	'Y': {"%d", false, time.Time.Year},
}

func hour12(t time.Time) int { return (t.Hour()+11)%12 + 1 }

// strftime formats as C's in the C locale.
func strftime(t time.Time, f string) string {
	var sb strings.Builder
	for i := 0; i < len(f); i++ {
		if f[i] != '%' || i+1 == len(f) {
			sb.WriteByte(f[i])
			continue
		}
		i++
		bare := f[i] == '-' && i+1 < len(f)
		if bare {
			i++
		}
		c := f[i]
		if layout, ok := clockTexts[c]; ok {
			sb.WriteString(t.Format(layout))
			continue
		}
		if n, ok := clockNumbers[c]; ok {
			if bare && n.padded {
				n.format = "%d"
			}
			fmt.Fprintf(&sb, n.format, n.of(t))
			continue
		}
		switch {
		case c == 'n':
			sb.WriteByte('\n')
		case c == 't':
			sb.WriteByte('\t')
		case c == '%':
			sb.WriteByte('%')
		case bare:
			sb.WriteString("%-" + f[i:i+1])
		default:
			sb.WriteString("%" + f[i:i+1])
		}
	}
	return sb.String()
}
