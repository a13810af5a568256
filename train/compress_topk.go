package train

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// topk: of each parameter the share density of its values that are largest in magnitude (Aji and Heafield 2017, arXiv:1704.05021; Lin et
// al. 2018, arXiv:1712.01887), at least one; of equal ones those that come first. Written are the gaps between their places, as unsigned
// varints, then the values.

func checkTopK(o options) error {
	if d := o["density"]; !(d > 0 && d <= 1) {
		return fmt.Errorf("train: compression_args: density is %g; it must be above 0 and at most 1", d)
	}
	return nil
}

func kept(o options, n int) int { return min(n, max(1, int(math.Ceil(o["density"]*float64(n))))) }

func sizeTopK(o options, n int) int {
	if n == 0 {
		return 0
	}
	k := kept(o, n)
	return k * (4 + max(1, (bits.Len(uint((n-k)/k))+6)/7))
}

// threshold returns the bits of the k'th largest magnitude, and how many values are larger: two passes of a histogram of 16 bits, because
// the bits of floats that are not negative are ordered as the floats.
func threshold(x []float32, k int) (at uint32, larger int) {
	hist := make([]int, 1<<16)
	for _, v := range x {
		hist[magnitude(v)>>16]++
	}
	high := len(hist) - 1
	for ; larger+hist[high] < k; high-- {
		larger += hist[high]
	}
	clear(hist)
	low := len(hist) - 1
	for _, v := range x {
		if m := magnitude(v); int(m>>16) == high {
			hist[m&0xffff]++
		}
	}
	for ; larger+hist[low] < k; low-- {
		larger += hist[low]
	}
	return uint32(high)<<16 | uint32(low), larger
}

func magnitude(v float32) uint32 { return math.Float32bits(v) &^ (1 << 31) }

func encodeTopK(o options, x []float32) []byte {
	if len(x) == 0 {
		return nil
	}
	k := kept(o, len(x))
	at, larger := threshold(x, k)
	equal := k - larger // so many of those at the threshold
	out := make([]byte, 0, 6*k)
	values := make([]byte, 0, 4*k)
	next := 0
	for i, v := range x {
		m := magnitude(v)
		if m < at || m == at && equal == 0 {
			continue
		}
		if m == at {
			equal--
		}
		out = binary.AppendUvarint(out, uint64(i-next))
		values = binary.LittleEndian.AppendUint32(values, math.Float32bits(v))
		next = i + 1
	}
	return append(out, values...)
}

func decodeTopK(o options, b []byte, dst []float32) error {
	clear(dst)
	if len(dst) == 0 {
		return nil
	}
	k := kept(o, len(dst))
	values := len(b) - 4*k
	if values < 0 {
		return fmt.Errorf("%d bytes cannot hold %d values", len(b), k)
	}
	at, read := 0, 0
	for j := range k {
		gap, n := binary.Uvarint(b[read:values])
		if n <= 0 || gap >= uint64(len(dst)-at) {
			return fmt.Errorf("value %d of %d has no place", j, k)
		}
		read += n
		dst[at+int(gap)] = math.Float32frombits(binary.LittleEndian.Uint32(b[values+4*j:]))
		at += int(gap) + 1
	}
	if read != values {
		return fmt.Errorf("%d bytes are left over", values-read)
	}
	return nil
}
