package dedupe

import (
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// The hash functions of [HashConfig].
const (
	XXHash = "xxhash"
	SHA1   = "sha1"
)

// HashConfig says how strings are hashed: xxHash64 with seed 0 (datatrove's default), or the first 8 bytes of SHA-1, little-endian
// (FineWeb).
type HashConfig struct {
	HashFc string `yaml:"hash_fc" json:"hash_fc" help:"the hash function: xxhash or sha1"`
}

// Validate checks the settings.
func (h HashConfig) Validate() error {
	if h.HashFc != XXHash && h.HashFc != SHA1 {
		return fmt.Errorf("hash_fc %q is unknown; it is xxhash or sha1", h.HashFc)
	}
	return nil
}

// Sum hashes bytes to 64 bits.
func (h HashConfig) Sum(b []byte) uint64 {
	if h.HashFc == SHA1 {
		s := sha1.Sum(b)
		return binary.LittleEndian.Uint64(s[:])
	}
	return xxhash.Sum64(b)
}

// SumString hashes a string.
func (h HashConfig) SumString(s string) uint64 {
	if h.HashFc == SHA1 {
		return h.Sum([]byte(s))
	}
	return xxhash.Sum64String(s)
}

// mersenne is the prime 2^61-1.
const mersenne = 1<<61 - 1

// mod reduces modulo 2^61-1.
func mod(x uint64) uint64 {
	x = x&mersenne + x>>61
	d, borrow := bits.Sub64(x, mersenne, 0)
	if borrow != 0 {
		return x
	}
	return d
}
