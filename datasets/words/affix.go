package words

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// prefix is the length of what is cut off the beginning of a piece.
func (s *Splitter) prefix(p string) int {
	c := p[0]
	if c < utf8.RuneSelf && s.plainish[c] {
		if (c == 'U' || c == 'C' || c == 'A') && len(p) > 1 {
			return dollar(p)
		}
		return 0
	}
	for _, x := range s.l.prefixes {
		if strings.HasPrefix(p, x) {
			return len(x)
		}
	}
	switch c {
	case '%', '=':
		return 1
	case '+':
		if len(p) > 1 && p[1] >= '0' && p[1] <= '9' {
			return 0
		}
		return 1
	case '.':
		if n := dots(p); n > 1 {
			return n
		}
		return 0
	}
	r, w := utf8.DecodeRuneInString(p)
	if r == '§' || r == '—' || r == '–' || flags(r)&(edge|money) != 0 {
		return w
	}
	return 0
}

// dollar is the length of US$, C$ or A$ at the beginning of p.
func dollar(p string) int {
	switch {
	case strings.HasPrefix(p, "US$"):
		return 3
	case p[1] == '$' && p[0] != 'U':
		return 2
	}
	return 0
}

// units follow a digit, the longest first.
var units = func() []string {
	u := strings.Fields("km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa " +
		"Pa mbar mb MB kb KB gb GB tb " +
		"TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с км/ч кПа Па мбар Кб КБ кб Мб МБ мб Гб ГБ гб Тб " +
		"ТБ тбكم كم² كم³ م م² م³ سم سم² سم³ مم مم² مم³ كم غرام جرام جم كغ ملغ كوب اكواب")
	slices.SortStableFunc(u, func(a, b string) int { return len(b) - len(a) })
	return u
}()

// unitEnds are the last bytes of units.
var unitEnds = func() (t [256]bool) {
	for _, u := range units {
		t[u[len(u)-1]] = true
	}
	return t
}()

// suffix is the length of the longest thing that is cut off the end of a piece. What it looks at before itself is in the piece.
func (s *Splitter) suffix(p string) int {
	if p == "" {
		return 0
	}
	best := 0
	r, w := utf8.DecodeLastRuneInString(p)
	f := flags(r)
	if f&edge != 0 || s.l.dashEnd && (r == '—' || r == '–') {
		best = w
		if strings.HasSuffix(p, "……") {
			best = 2 * w
		}
	}
	for _, x := range s.l.suffixes {
		if len(x) > best && strings.HasSuffix(p, x) {
			best = len(x)
		}
	}
	rest := p[:len(p)-w]
	switch {
	case r == '.':
		n := 1
		for n < len(p) && p[len(p)-1-n] == '.' {
			n++
		}
		if n > 1 {
			return n
		}
		if rest == "" {
			return best
		}
		if s.endsBeforeDot(rest) {
			return max(best, 1)
		}
	case r == '+':
		if digitBefore(rest) {
			best = max(best, 1)
		}
	case f&money != 0:
		if digitBefore(rest) {
			best = max(best, w)
		} else if r == '$' {
			for _, x := range [...]string{"US$", "C$", "A$"} {
				if strings.HasSuffix(p, x) && digitBefore(p[:len(p)-len(x)]) {
					best = max(best, len(x))
				}
			}
		}
	}
	if unitEnds[p[len(p)-1]] && digitNear(p) {
		for _, u := range units {
			if len(u) > best && strings.HasSuffix(p, u) && digitBefore(p[:len(p)-len(u)]) {
				return len(u)
			}
		}
	}
	return best
}

// endsBeforeDot says whether a dot after rest, which is not empty, is a mark of its own.
func (s *Splitter) endsBeforeDot(rest string) bool {
	before, w := utf8.DecodeLastRuneInString(rest)
	f := flags(before)
	if f&(lower|quote|beforeD) != 0 || s.l.digitDot && f&digit != 0 {
		return true
	}
	if f&upper != 0 {
		if two, tw := utf8.DecodeLastRuneInString(rest[:len(rest)-w]); tw > 0 && flags(two)&upper != 0 {
			return true
		}
	}
	return strings.ContainsRune("FfCcKk", before) && strings.HasSuffix(rest[:len(rest)-w], "°")
}

// digitNear says whether one of the last characters, which a unit has at most, is a digit.
func digitNear(p string) bool {
	for i := len(p) - 2; i >= 0 && i >= len(p)-2-unitBytes; i-- {
		if p[i] >= '0' && p[i] <= '9' {
			return true
		}
	}
	return false
}

// unitBytes is the length of the longest unit.
var unitBytes = len(units[0])

func digitBefore(p string) bool { return p != "" && p[len(p)-1] >= '0' && p[len(p)-1] <= '9' }
