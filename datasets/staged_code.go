package datasets

import (
	"encoding/binary"
	"errors"
)

// AppendDoc appends a staged document as bytes, about four a token. They begin with its hash, big-endian: bytes of documents have the order
// of their hashes.
func AppendDoc(b []byte, d *StagedDoc) []byte {
	b = binary.BigEndian.AppendUint64(b, d.Hash)
	b = binary.BigEndian.AppendUint64(b, d.Split)
	for _, s := range []string{d.ID, d.Source, d.Key} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	b = binary.AppendVarint(b, d.Index)
	b = appendLength(b, len(d.Tokens), d.Tokens == nil)
	for _, x := range d.Tokens {
		b = binary.AppendUvarint(b, uint64(uint32(x)))
	}
	b = appendLength(b, len(d.Labels), d.Labels == nil)
	for i, x := range d.Labels { // most are the token or have no loss
		if i < len(d.Tokens) && x == d.Tokens[i] {
			b = append(b, 0)
			continue
		}
		b = binary.AppendUvarint(b, 1+zigzag(int64(x)-NoLoss))
	}
	b = appendLength(b, len(d.Spans), d.Spans == nil)
	at := int32(0)
	for _, s := range d.Spans { // most begin where the one before ends
		size, gap := zigzag(int64(s[1])-int64(s[0])), int64(s[0])-int64(at)
		if gap == 0 {
			b = binary.AppendUvarint(b, size<<1)
		} else {
			b = binary.AppendVarint(binary.AppendUvarint(b, size<<1|1), gap)
		}
		at = s[1]
	}
	return b
}

// zigzag gives small numbers of either sign a small number, as binary.AppendVarint does.
func zigzag(x int64) uint64 { return uint64(x)<<1 ^ uint64(x>>63) }

func unzigzag(x uint64) int64 { return int64(x>>1) ^ -int64(x&1) }

// appendLength writes the length of a list, 0 of nil and one more of others.
func appendLength(b []byte, n int, none bool) []byte {
	if none {
		return append(b, 0)
	}
	return binary.AppendUvarint(b, uint64(n)+1)
}

// DecodeDoc reads what [AppendDoc] writes, whole. The document keeps none of the bytes.
func DecodeDoc(b []byte) (d StagedDoc, err error) {
	r := docReader{b: b}
	d.Hash, d.Split = r.word(), r.word()
	d.ID, d.Source, d.Key = r.text(), r.text(), r.text()
	d.Index = unzigzag(r.uint())
	if n, some := r.length(); some {
		d.Tokens = make([]int32, n)
		for i := range d.Tokens {
			d.Tokens[i] = int32(uint32(r.uint()))
		}
	}
	if n, some := r.length(); some {
		d.Labels = make([]int32, n)
		for i := range d.Labels {
			if x := r.uint(); x > 0 {
				d.Labels[i] = int32(unzigzag(x-1) + NoLoss)
			} else if i < len(d.Tokens) {
				d.Labels[i] = d.Tokens[i]
			}
		}
	}
	if n, some := r.length(); some {
		d.Spans = make([][2]int32, n)
		at := int64(0)
		for i := range d.Spans {
			size := r.uint()
			if size&1 == 1 {
				at += unzigzag(r.uint())
			}
			to := at + unzigzag(size>>1)
			d.Spans[i], at = [2]int32{int32(at), int32(to)}, to
		}
	}
	if r.short || len(r.b) > 0 {
		return d, errors.New("a tokenized document that is damaged: its bytes end too early or too late")
	}
	return d, nil
}

// docReader takes values off bytes; short says that there were too few.
type docReader struct {
	b     []byte
	short bool
}

func (r *docReader) cut(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.short, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *docReader) uint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		x := r.b[0]
		r.b = r.b[1:]
		return uint64(x)
	}
	x, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.short, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *docReader) word() uint64 {
	if b := r.cut(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *docReader) text() string { return string(r.cut(r.uint())) }

// length is that of a list, each of whose values has a byte at least.
func (r *docReader) length() (n int, some bool) {
	x := r.uint()
	if x == 0 {
		return 0, false
	}
	if x-1 > uint64(len(r.b)) {
		r.short, x = true, 1
	}
	return int(x - 1), true
}
