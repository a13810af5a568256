package tokenize

import "fmt"

// Bounds of a tokenizer.json. No real one comes near them.
const (
	maxDepth      = 200      // lists and objects in one another
	maxAddedBytes = 64 << 10 // of an added token
	maxAround     = 1000     // tokens that the post-processor puts around each text
)

// shallow is an error for JSON that nests deeper than any tokenizer does: each level is read again for the one within it.
func shallow(data []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("JSON nests deeper than %d", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}
