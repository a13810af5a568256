package serve

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/tokenize"
)

// tokenText is a token as it reads behind another one.
func tokenText(tk tokenize.Tokenizer, id int32) string {
	one := tk.Decode([]int32{id}, false)
	if rest, ok := strings.CutPrefix(tk.Decode([]int32{id, id}, false), one); ok {
		return rest
	}
	return one
}

// tokenBytes are the bytes of a token, which may be a part of a character.
func tokenBytes(tk tokenize.Tokenizer, id int32) []byte {
	text := tokenText(tk, id)
	spelt, ok := tk.IDToToken(id)
	if !ok || !strings.ContainsRune(text, utf8.RuneError) && text != "" {
		return []byte(text)
	}
	if len(spelt) == 6 && strings.HasPrefix(spelt, "<0x") && spelt[5] == '>' {
		if b, err := strconv.ParseUint(spelt[3:5], 16, 8); err == nil {
			return []byte{byte(b)}
		}
	}
	var out []byte
	for _, r := range spelt {
		b, ok := byteOf[r]
		if !ok {
			return []byte(text)
		}
		out = append(out, b)
	}
	return out
}

// byteOf are the characters by which byte-level vocabularies spell bytes (GPT-2's bytes_to_unicode).
var byteOf = func() map[rune]byte {
	m := map[rune]byte{}
	next := rune(256)
	for b := range 256 {
		if b > 32 && b < 127 || b > 160 && b != 173 {
			m[rune(b)] = byte(b)
			continue
		}
		m[next] = byte(b)
		next++
	}
	return m
}()

// ints are bytes as JSON numbers.
func ints(b []byte) []int {
	out := make([]int, len(b))
	for i, x := range b {
		out[i] = int(x)
	}
	return out
}

// finite is a log-probability as JSON can have it.
func finite(v float64) float64 {
	if v < -9999 || math.IsNaN(v) {
		return -9999
	}
	return v
}

func characters(s string) int { return utf8.RuneCountInString(s) }
