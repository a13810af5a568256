package datasets

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// DocID is the identity of a document: its source path relative to the glob's fixed root, "#", and the index of the record in it.
func DocID(source string, index int64) string { return source + "#" + strconv.FormatInt(index, 10) }

// CutDocID takes a [DocID] apart; the index of an id without one is 0.
func CutDocID(id string) (source string, index int64) {
	i := strings.LastIndexByte(id, '#')
	if i < 0 {
		return id, 0
	}
	index, _ = strconv.ParseInt(id[i+1:], 10, 64)
	return id[:i], index
}

// Purposes of [Hash].
const (
	// PurposeShard orders documents and assigns them to shards.
	PurposeShard = "shard"
	// PurposeValidation selects the validation split.
	PurposeValidation = "validation"
)

// Hash is a stable 64-bit hash of a document's id for a purpose: the first 8 bytes, big-endian, of SHA-256 over the seed (8 bytes,
// big-endian), the purpose, a zero byte and the id.
func Hash(docID string, seed uint64, purpose string) uint64 {
	b := make([]byte, 8, 16+len(purpose)+len(docID))
	binary.BigEndian.PutUint64(b, seed)
	b = append(b, purpose...)
	b = append(b, 0)
	b = append(b, docID...)
	s := sha256.Sum256(b)
	return binary.BigEndian.Uint64(s[:8])
}

// NumShards is ceil(tokens / tokensPerShard), at least 1.
func NumShards(tokens, tokensPerShard int64) int {
	if tokensPerShard <= 0 {
		panic("datasets: NumShards wants tokensPerShard > 0")
	}
	return int(max(1, (tokens+tokensPerShard-1)/tokensPerShard))
}

// ShardOf maps a document's hash to one of n shards: floor(hash·n / 2^64). Each shard is a range of the hash, so that a file whose rows are
// in hash order holds each shard's rows side by side and is read once, whatever n is.
func ShardOf(hash uint64, n int) int {
	hi, _ := bits.Mul64(hash, uint64(n))
	return int(hi)
}

// Split is the rule of the automatic validation split: a document is in it when its PurposeValidation hash is at most Limit.
type Split struct {
	On    bool
	Limit uint64
}

// NewSplit makes the rule for a fraction of the documents, given the smallest and largest PurposeValidation hash among them. At least one
// document is for validation (the one of the smallest hash) and at least one for training; so a corpus of one document has no validation
// split. A fraction of 0 turns it off.
func NewSplit(fraction float64, minHash, maxHash uint64) Split {
	if fraction <= 0 || minHash >= maxHash {
		return Split{}
	}
	limit := uint64(math.MaxUint64)
	if f := math.Ldexp(fraction, 64); f < math.Ldexp(1, 64) {
		limit = uint64(f)
	}
	return Split{On: true, Limit: min(max(limit, minHash), maxHash-1)}
}

// Validation reports whether a document with this PurposeValidation hash is for validation.
func (s Split) Validation(hash uint64) bool { return s.On && hash <= s.Limit }
