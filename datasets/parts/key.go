package parts

import (
	"fmt"
	"math"
)

// A range of places is all those that begin with the same bits. Its key is a number that a runner may group by: the first place of the
// range without its lowest 8 bits, and below it in 6 bits how many bits all places of the range begin with. Keys of ranges that do not
// overlap have the order of the ranges. The key of all places is [Root].

// Root is the key of the range of all places.
const Root int64 = 0

// MaxBits is how many bits the places of a range begin with at most.
const MaxBits = 56

// Key is the key of the places that begin with the first bits of place, 0 to [MaxBits] of them.
func Key(place uint64, bits int) int64 {
	if bits < 0 || bits > MaxBits {
		panic(fmt.Sprintf("parts: a range of places has 0 to %d bits, not %d", MaxBits, bits))
	}
	return int64(place&^rest(bits))>>8&(1<<MaxBits-1)<<6 | int64(bits)
}

// rest has the bits set that follow the first ones of a place.
func rest(bits int) uint64 { return math.MaxUint64 >> bits }

// Bits is how many bits all places of a key's range begin with.
func Bits(key int64) int { return int(key & 63) }

// Range is the first and the last place of a key's range.
func Range(key int64) (first, last uint64) {
	first = uint64(key>>6) << 8
	return first, first | rest(Bits(key))
}

// check panics where a key is none.
func check(key int64) {
	if first, _ := Range(key); key < 0 || Bits(key) > MaxBits || first&rest(Bits(key)) != 0 {
		panic(fmt.Sprintf("parts: %d is not the key of a range of places", key))
	}
}

// cutBits is how many bits a file cuts its range by.
const cutBits = 8

// below is how many bits the parts of a file over a key's range begin with.
func below(key int64) int { return min(Bits(key)+cutBits, MaxBits) }
