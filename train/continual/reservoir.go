package continual

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
)

// Purposes of [datasets.Hash] here: which sequences a reservoir holds, and which of them an increment replays.
const (
	purposeKeep   = "reservoir"
	purposeReplay = "replay"
)

// Reservoir is a uniform sample of bounded size of all sequences that were added to it: those whose hashes are the smallest (a bottom-k
// sample), so that it depends on the sequences and the seed alone, not on the order or the number of times in which they came. It takes at
// most capacity · sequence length tokens of memory.
type Reservoir struct {
	capacity int
	seed     uint64
	items    []item // ascending by hash
}

type item struct {
	id   string // of the content
	hash uint64
	seq  datasets.Sequence
}

// NewReservoir returns an empty one for at most capacity sequences.
func NewReservoir(capacity int, seed uint64) *Reservoir {
	return &Reservoir{capacity: capacity, seed: seed}
}

// contentID identifies what is learnt from a sequence: its tokens, labels and documents' starts.
func contentID(q *datasets.Sequence) string {
	h := sha256.New()
	for _, x := range [][]int32{q.InputIDs, q.Labels, q.DocStarts} {
		_ = binary.Write(h, binary.LittleEndian, int64(len(x))) // a hash takes everything
		_ = binary.Write(h, binary.LittleEndian, x)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func compare(a, b item) int {
	switch {
	case a.hash < b.hash:
		return -1
	case a.hash > b.hash:
		return 1
	}
	return strings.Compare(a.id, b.id)
}

// Add offers a sequence. One whose content is in the reservoir changes nothing.
func (r *Reservoir) Add(q datasets.Sequence) {
	id := contentID(&q)
	x := item{id, datasets.Hash(id, r.seed, purposeKeep), q}
	i, found := slices.BinarySearchFunc(r.items, x, compare)
	if found || i >= r.capacity {
		return
	}
	r.items = slices.Insert(r.items, i, x)
	if len(r.items) > r.capacity {
		r.items = slices.Delete(r.items, r.capacity, len(r.items))
	}
}

// Len is the number of sequences.
func (r *Reservoir) Len() int { return len(r.items) }

// Sequences are the sequences in the order of their hashes.
func (r *Reservoir) Sequences() []datasets.Sequence {
	out := make([]datasets.Sequence, len(r.items))
	for i := range r.items {
		out[i] = r.items[i].seq
	}
	return out
}

// Replays is how many sequences of the reservoir make up the fraction of what an increment of n new sequences trains on, as far as the
// reservoir goes.
func (r *Reservoir) Replays(n int, fraction float64) int {
	return min(r.Len(), int(math.Round(float64(n)*fraction/(1-fraction))))
}

// Sample draws n sequences for an increment: others for each, always the same for one.
func (r *Reservoir) Sample(n, increment int) []datasets.Sequence {
	xs := slices.Clone(r.items)
	for i := range xs {
		xs[i].hash = datasets.Hash(xs[i].id, r.seed, fmt.Sprintf("%s-%d", purposeReplay, increment))
	}
	slices.SortFunc(xs, compare)
	var out []datasets.Sequence
	for _, x := range xs[:min(n, len(xs))] {
		out = append(out, x.seq)
	}
	return out
}

// WriteSequences writes sequences as a shard.
func WriteSequences(path string, meta datasets.ShardMeta, seqs []datasets.Sequence) (datasets.ShardInfo, error) {
	w, err := datasets.CreateShard(path, meta)
	if err != nil {
		return datasets.ShardInfo{}, err
	}
	defer w.Abort()
	for i := range seqs {
		if err := w.Write(&seqs[i]); err != nil {
			return datasets.ShardInfo{}, err
		}
	}
	return w.Close()
}

// Read adds the sequences of a shard, which was written by [WriteSequences] or by preparing.
func (r *Reservoir) Read(path string) error {
	s, err := datasets.OpenShard(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: what an earlier increment left to replay is gone", err)
		}
		return err
	}
	defer s.Close()
	return s.Each(func(q *datasets.Sequence) error {
		r.Add(*q)
		return nil
	})
}
