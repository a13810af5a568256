package recipe

import (
	"sort"
	"strings"
)

// Nearest returns the name with the smallest edit distance to s, the first in the alphabet of equals; "" when there are no names.
func Nearest(s string, names []string) string {
	names = append([]string(nil), names...)
	sort.Strings(names)
	best, at := 1<<30, ""
	for _, n := range names {
		if d := distance(strings.ToLower(s), strings.ToLower(n)); d < best {
			best, at = d, n
		}
	}
	return at
}

// distance is Levenshtein's, on bytes.
func distance(a, b string) int {
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
