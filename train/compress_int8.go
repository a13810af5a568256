package train

import (
	"encoding/binary"
	"fmt"
	"math"
)

// int8: blocks of block_size values, each with a float32 scale max|x|/127 and a code round(x/scale) a value (ties to even), so that a value
// is off by at most half its block's scale. Written are the scales of all blocks, then the codes.

func checkInt8(o options) error {
	if b := o["block_size"]; b < 1 || b > 1<<24 || b != math.Trunc(b) {
		return fmt.Errorf("train: compression_args: block_size is %g; it must be a whole number from 1 to %d", b, 1<<24)
	}
	return nil
}

func sizeInt8(o options, n int) int {
	b := int(o["block_size"])
	return n + 4*((n+b-1)/b)
}

func encodeInt8(o options, x []float32) []byte {
	size := int(o["block_size"])
	out := make([]byte, sizeInt8(o, len(x)))
	codes := out[len(out)-len(x):]
	for b := 0; b*size < len(x); b++ {
		from, to := b*size, min((b+1)*size, len(x))
		top := float32(0)
		for _, v := range x[from:to] {
			top = max(top, float32(math.Abs(float64(v))))
		}
		scale := top / 127
		binary.LittleEndian.PutUint32(out[4*b:], math.Float32bits(scale))
		if scale == 0 {
			continue
		}
		for i, v := range x[from:to] {
			q := math.RoundToEven(float64(v) / float64(scale))
			codes[from+i] = byte(int8(min(max(q, -127), 127))) // a subnormal scale is rounded itself
		}
	}
	return out
}

func decodeInt8(o options, b []byte, dst []float32) error {
	size := int(o["block_size"])
	if want := sizeInt8(o, len(dst)); len(b) != want {
		return fmt.Errorf("%d bytes, want %d", len(b), want)
	}
	codes := b[len(b)-len(dst):]
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*(i/size):])) * float32(int8(codes[i]))
	}
	return nil
}
