// Package pytext has what Python's str says of characters.
package pytext

import "strings"

// IsSpace is Python's str.isspace of a character, which \s of its re module agrees with.
func IsSpace(r rune) bool {
	switch {
	case r <= ' ':
		return r == ' ' || r >= 9 && r <= 13 || r >= 28 && r <= 31
	case r < 0x1680:
		return r == 0x85 || r == 0xa0
	}
	return r == 0x1680 || r >= 0x2000 && r <= 0x200a || r == 0x2028 || r == 0x2029 || r == 0x202f || r == 0x205f || r == 0x3000
}

// Fields is Python's str.split() without arguments.
func Fields(s string) []string { return strings.FieldsFunc(s, IsSpace) }
