// Package nearest finds the known name that a mistyped one was meant for.
package nearest

import (
	"math"
	"slices"
	"strings"
)

// Name returns the name with the smallest edit distance to s, the first in the alphabet of equals, without regard to case; "" when there
// are not names.
func Name(s string, names []string) string {
	names = slices.Sorted(slices.Values(names))
	best, at := math.MaxInt, ""
	for _, n := range names {
		if d := Distance(strings.ToLower(s), strings.ToLower(n)); d < best {
			best, at = d, n
		}
	}
	return at
}

// Distance is the edit distance of Levenshtein between two names, in bytes.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diag, row[j+1] = row[j+1], min(diag+cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
