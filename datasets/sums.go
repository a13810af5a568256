package datasets

import "slices"

// AddCounts adds counts to those of sum, which may be nil, and returns it.
func AddCounts[K comparable](sum, counts map[K]int64) map[K]int64 {
	if sum == nil && len(counts) > 0 {
		sum = make(map[K]int64, len(counts))
	}
	for k, n := range counts {
		sum[k] += n
	}
	return sum
}

// AddNames adds names to a sorted list.
func AddNames(sum, names []string) []string {
	if len(names) == 0 {
		return sum
	}
	sum = append(sum, names...)
	slices.Sort(sum)
	return sum
}
