package dedupe

import (
	"encoding/binary"
	"sync"

	"github.com/adaptflow/adaptflow/datasets/rules"
)

// MinHashStep finds clusters of documents that share most of their n-grams of words, and keeps one of each: the one that datatrove keeps.
type MinHashStep struct {
	MinHashConfig
	IndexConfig

	m *MinHash
}

// NewMinHashStep returns datatrove's settings.
func NewMinHashStep() *MinHashStep { return &MinHashStep{MinHashConfig: DefaultMinHash()} }

// Name is "minhash".
func (*MinHashStep) Name() string { return "minhash" }

// Prepare draws the permutations.
func (c *MinHashStep) Prepare() (err error) {
	if err := c.IndexConfig.validate("minhash"); err != nil {
		return err
	}
	c.m, err = NewMinHash(c.MinHashConfig)
	return err
}

// Layout is a section for each bucket, of keys as long as a band.
func (c *MinHashStep) Layout() (int, int, bool) { return c.NumBuckets, 8 * c.HashesPerBucket, true }

var shingles = sync.Pool{New: func() any { return new([]uint64) }}

// Sign writes the bands. A text with fewer words than an n-gram has none.
func (c *MinHashStep) Sign(sections [][]byte, id ID, text string, s rules.Splitter) {
	buf := shingles.Get().(*[]uint64)
	defer shingles.Put(buf)
	*buf = c.m.Shingles((*buf)[:0], s.Words(rules.Simplify(text)))
	sig := c.m.Signature(*buf)
	if sig == nil {
		return
	}
	for k := range sections {
		for _, h := range c.m.Band(sig, k) {
			sections[k] = binary.BigEndian.AppendUint64(sections[k], h)
		}
		sections[k] = appendID(sections[k], id)
	}
}

// Remove drops the document.
func (*MinHashStep) Remove(string, []uint32, rules.Splitter) rules.Verdict { return whole() }
