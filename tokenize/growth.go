package tokenize

import "fmt"

// What the components of a tokenizer.json may make of a text. Real ones grow one byte to three, and rare characters to eleven times their
// length.
const (
	growFree   = 1 << 20   // bytes that are never out of proportion
	growFactor = 128       // and how much longer a text may become beyond
	growMost   = 256 << 20 // by one component, where the text itself is not longer
	mostSteps  = 1000      // normalizers in all
)

// grown refuses a text that components made of one of the length from.
func grown(from, to int) error {
	if to <= growFree || to <= from {
		return nil
	}
	if to > growFree+growFactor*from || to > max(growMost, 4*from) {
		return fmt.Errorf("the normalizers make a text of %d bytes out of one of %d, which is out of proportion: check those of "+
			"tokenizer.json", to, from)
	}
	return nil
}

// replaced is the length of a text of n bytes of which count parts of old bytes become new ones.
func replaced(n, count, old, new int) int { return n + count*(new-old) }

// steps counts a normalizer's parts.
func steps(n normalizer) int {
	list, ok := n.(normSequence)
	if !ok {
		return 1
	}
	sum := 0
	for _, x := range list {
		sum += steps(x)
	}
	return sum
}
