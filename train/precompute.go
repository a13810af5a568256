package train

import (
	"crypto/sha256"
	"encoding/binary"
)

// known is what a reference that stays found of documents: the log-probabilities of their supervised tokens, by the hash of the document
// and of which those are. A row's bits depend on its own document alone (the contract of bits, kernels/doc.go), so that it does not matter
// beside which others, or by which process, they were found.
type known map[[sha256.Size]byte][]float32

// key is that of a document of a batch.
func (known) key(b *Batch, doc int) (k [sha256.Size]byte) {
	d := b.Step.Docs[doc]
	from, to := b.Rows(doc)
	h := sha256.New()
	_ = binary.Write(h, binary.LittleEndian, b.Step.Tokens[d.Cache:d.Cache+d.Past]) // a hash takes all
	_ = binary.Write(h, binary.LittleEndian, b.Step.Tokens[d.Start:d.End])
	for i := from; i < to; i++ {
		_ = binary.Write(h, binary.LittleEndian, [2]int32{b.Step.Rows[i] - d.Start + d.Past, b.Step.Labels[i]})
	}
	h.Sum(k[:0])
	return k
}

// refer finds the log-probabilities of the reference: by a pass over the whole batch, unless each of its documents is known.
func (r *goal) refer(b *Batch, p *Pass) {
	b.Reference = b.Reference[:0]
	var keys [][sha256.Size]byte
	if r.known != nil {
		for d := range b.Docs() {
			keys = append(keys, r.known.key(b, d))
			if x, ok := r.known[keys[d]]; ok && len(b.Reference) == b.start(d) {
				b.Reference = append(b.Reference, x...)
			}
		}
		if len(b.Reference) == len(b.Step.Rows) {
			return
		}
	}
	b.Reference = append(b.Reference[:0], p.Reference(b.Step)...)
	for d, k := range keys {
		from, to := b.Rows(d)
		r.known[k] = append([]float32(nil), b.Reference[from:to]...)
	}
}

// start is where the rows of a document begin.
func (b *Batch) start(doc int) int {
	from, _ := b.Rows(doc)
	return from
}
