package words

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// isURL reports whether a piece is an address of the web or of e-mail: [protocol://][user@]host[:port][/path], where the host is a public
// IPv4 address or a name with a top-level domain in lower case.
func isURL(p string) bool {
	dot := strings.IndexByte(p, '.')
	if dot < 0 || dot == len(p)-1 {
		return false
	}
	if isHost(p) {
		return true
	}
	if i := strings.Index(p, "://"); i > 0 && isScheme(p[:i]) && isHost(p[i+3:]) {
		return true
	}
	for i := 1; i < len(p); i++ {
		if p[i] == '@' && isHost(p[i+1:]) {
			return true
		}
	}
	return false
}

func isScheme(s string) bool {
	n := 0
	for _, r := range s {
		if !(r == '+' || r == '-' || r == '.' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r)) {
			return false
		}
		n++
	}
	return n >= 2
}

// inHost says whether a character may be in a label, and at its edge.
func inHost(r rune) (in, edge bool) {
	edge = r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r >= 0xa1 && r <= 0xffff
	return edge || r == '_' || r == '-', edge
}

// isHost matches host, port and path to the end.
func isHost(s string) bool {
	labels, start, dots := 0, 0, 0
	i := 0
	for i < len(s) {
		r, w := utf8.DecodeRuneInString(s[i:])
		if r == '.' {
			if !isLabel(s[start:i]) {
				return false
			}
			labels++
			dots++
			i += w
			start = i
			continue
		}
		if in, _ := inHost(r); !in {
			break
		}
		i += w
	}
	if labels == 0 {
		return false
	}
	tld := s[start:i]
	n := utf8.RuneCountInString(tld)
	ok := n >= 2 && n <= 63
	for _, r := range tld {
		ok = ok && flags(r)&lower != 0
	}
	if !ok && !(dots == 3 && isPublicIP(s[:i])) {
		return false
	}
	rest := s[i:]
	if strings.HasPrefix(rest, ":") {
		n := 1
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
		if n < 3 || n > 6 {
			return false
		}
		rest = rest[n:]
	}
	return rest == "" || rest[0] == '/' || rest[0] == '?' || rest[0] == '#'
}

func isLabel(l string) bool {
	n := utf8.RuneCountInString(l)
	if n < 1 || n > 64 {
		return false
	}
	a, _ := utf8.DecodeRuneInString(l)
	b, _ := utf8.DecodeLastRuneInString(l)
	_, x := inHost(a)
	_, y := inHost(b)
	return x && y
}

// isPublicIP accepts four numbers that are not private, local or reserved addresses.
func isPublicIP(s string) bool {
	var q [4]int
	for i, l := range strings.Split(s, ".") {
		v, err := strconv.Atoi(l)
		if err != nil || v > 255 || l[0] < '0' || l[0] > '9' || len(l) > 3 {
			return false
		}
		if (i == 0 || i == 3) && (v == 0 || l[0] == '0') {
			return false
		}
		q[i] = v
	}
	switch {
	case q[0] > 223 || q[0] == 10 || q[0] == 127 || q[0] == 169 && q[1] == 254 || q[0] == 192 && q[1] == 168 ||
		q[0] == 172 && q[1] >= 16 && q[1] <= 31, q[3] > 254:
		return false
	}
	return true
}
