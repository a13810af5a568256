package peft

import (
	"fmt"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
)

// pyRegex is a regular expression with the meaning of Python's re module, which HF's configurations use: look-around,
// back-references and the order of alternatives matter, so that Go's regexp is not a substitute.
type pyRegex struct {
	re   *regexp2.Regexp
	text string
}

// The two ways in which HF applies a pattern.
const (
	fullMatch   = `\A(?:%s)\z`         // re.fullmatch(pattern, name)
	suffixMatch = `\A(.*\.)?(%s)\n?\z` // re.match(rf"(.*\.)?({key})$", name)
)

// compilePy compiles pattern inside the frame, one of fullMatch and suffixMatch or another with one %s.
func compilePy(field, pattern, frame string) (*pyRegex, error) {
	p := pythonToNet(pattern)
	flags := ""
	// Global flags may stand at the start of a Python pattern only; the frame would move them.
	if strings.HasPrefix(p, "(?") {
		if i := strings.IndexByte(p, ')'); i > 2 && strings.Trim(p[2:i], "aimsux") == "" {
			flags = strings.NewReplacer("a", "", "u", "").Replace(p[2:i])
			p = p[i+1:]
			if flags != "" {
				flags = "(?" + flags + ")"
			}
		}
	}
	if strings.Contains(flags, "x") {
		p += "\n" // ends a trailing comment
	}
	re, err := regexp2.Compile(flags+fmt.Sprintf(frame, p), regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("peft: %s: the regular expression %q does not compile: %w", field, pattern, err)
	}
	re.MatchTimeout = 2 * time.Second
	return &pyRegex{re: re, text: pattern}, nil
}

// pythonToNet rewrites the few spellings in which Python differs from regexp2's dialect.
func pythonToNet(p string) string {
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		switch {
		case p[i] == '\\' && i+1 < len(p):
			if p[i+1] == 'Z' { // Python's \Z is the very end
				b.WriteString(`\z`)
			} else {
				b.WriteString(p[i : i+2])
			}
			i++
		case strings.HasPrefix(p[i:], "(?P<"):
			b.WriteString("(?<")
			i += 3
		case strings.HasPrefix(p[i:], "(?P="):
			if end := strings.IndexByte(p[i:], ')'); end > 0 {
				b.WriteString(`\k<` + p[i+4:i+end] + `>`)
				i += end
				continue
			}
			b.WriteByte(p[i])
		default:
			b.WriteByte(p[i])
		}
	}
	return b.String()
}

// match reports whether s matches.
func (r *pyRegex) match(s string) (bool, error) {
	ok, err := r.re.MatchString(s)
	if err != nil {
		return false, fmt.Errorf("peft: the regular expression %q takes too long on %q; simplify it: %w", r.text, s, err)
	}
	return ok, nil
}

// group returns the named group of the first match, "" and false when there is none.
func (r *pyRegex) group(s, name string) (string, bool, error) {
	m, err := r.re.FindStringMatch(s)
	if err != nil {
		return "", false, fmt.Errorf("peft: the regular expression %q takes too long on %q; simplify it: %w", r.text, s, err)
	}
	if m == nil {
		return "", false, nil
	}
	return m.GroupByName(name).String(), true, nil
}
