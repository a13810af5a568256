package dedupe

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/datasets/rules"
)

// MinHashConfig are the settings of MinHash with locality-sensitive hashing, under datatrove's names. Two documents whose sets of n-grams
// have Jaccard similarity s share a bucket with probability 1-(1-s^HashesPerBucket)^NumBuckets.
type MinHashConfig struct {
	NGrams          int        `yaml:"n_grams" json:"n_grams" help:"words of a sequence that is hashed"`
	NumBuckets      int        `yaml:"num_buckets" json:"num_buckets" help:"buckets of hashes: documents that agree in one are taken for similar"`
	HashesPerBucket int        `yaml:"hashes_per_bucket" json:"hashes_per_bucket" help:"hashes of a bucket"`
	Seed            uint32     `yaml:"seed" json:"seed" help:"seed of the hash functions"`
	HashConfig      HashConfig `yaml:"hash_config" json:"hash_config" help:"the hash function"`
}

// DefaultMinHash are the settings of FineWeb (Penedo et al. 2024, section 3.4) with datatrove's default hash.
func DefaultMinHash() MinHashConfig {
	return MinHashConfig{NGrams: 5, NumBuckets: 14, HashesPerBucket: 8, Seed: 1, HashConfig: HashConfig{XXHash}}
}

// Validate checks the settings.
func (c MinHashConfig) Validate() error {
	if c.NGrams < 1 || c.NumBuckets < 1 || c.HashesPerBucket < 1 {
		return fmt.Errorf("minhash: n_grams %d, num_buckets %d and hashes_per_bucket %d must be at least 1", c.NGrams,
			c.NumBuckets, c.HashesPerBucket)
	}
	return c.HashConfig.Validate()
}

// MinHash computes signatures. It is safe for use by several goroutines.
type MinHash struct {
	Config MinHashConfig
	a, b   []uint64
}

// NewMinHash draws the permutations of the seed.
func NewMinHash(c MinHashConfig) (*MinHash, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m := randomState(c.Seed)
	n := c.NumBuckets * c.HashesPerBucket
	return &MinHash{c, uint64s(m, n, 1, mersenne), uint64s(m, n, 0, mersenne)}, nil
}

// Shingles appends the hashes of the n-grams of words to dst, joined by a space. Words are those of the simplified text ([rules.Simplify]).
func (m *MinHash) Shingles(dst []uint64, words []string) []uint64 {
	rules.EachGram(words, m.Config.NGrams, func(gram []byte) bool {
		dst = append(dst, m.Config.HashConfig.Sum(gram))
		return true
	})
	return dst
}

// Signature is the least value of each permutation over the shingles, [NumBuckets, HashesPerBucket] row-major; nil without shingles. The
// permutation is (h·a+b mod 2^64) mod 2^61-1: the first reduction is the reference's overflow.
func (m *MinHash) Signature(shingles []uint64) []uint64 {
	if len(shingles) == 0 {
		return nil
	}
	sig := make([]uint64, len(m.a))
	for k, a := range m.a {
		b, least := m.b[k], uint64(math.MaxUint64)
		for _, h := range shingles {
			least = min(least, mod(h*a+b))
		}
		sig[k] = least
	}
	return sig
}

// Sign is the signature of a text with the words of a splitter; nil if it has fewer words than an n-gram.
func (m *MinHash) Sign(text string, s rules.Splitter) []uint64 {
	return m.Signature(m.Shingles(nil, s.Words(rules.Simplify(text))))
}

// Band is the part of a signature that bucket k compares.
func (m *MinHash) Band(sig []uint64, k int) []uint64 {
	n := m.Config.HashesPerBucket
	return sig[k*n : (k+1)*n]
}
