package train

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/adaptflow/adaptflow/kernels"
)

// compression is a row of the table of compressions: how what a replica sends of a parameter in a round (its gradient sums, or what it
// moved) is written. What a compression loses is not lost: the replica adds it to what it sends in the next round (error feedback; Seide et
// al. 2014, Karimireddy et al. 2019, arXiv:1901.09847).
type compression struct {
	name    string
	dtype   string  // of the tensor that is written
	options options // keys of compression_args, with their defaults
	check   func(o options) error
	encode  func(o options, x []float32) []byte // x is finite
	decode  func(o options, b []byte, dst []float32) error
	// size is the length of what encode writes for n values; of topk, whose gaps vary, where the values kept lie evenly.
	size func(o options, n int) int
}

// compressions is the table. A new one is a file and a row here; the table drives its tests.
var compressions = []compression{
	{"none", "F32", nil, nil, encodeFloats, decodeFloats, func(_ options, n int) int { return 4 * n }},
	{"int8", "U8", options{"block_size": 256}, checkInt8, encodeInt8, decodeInt8, sizeInt8},
	{"topk", "U8", options{"density": 0.01}, checkTopK, encodeTopK, decodeTopK, sizeTopK},
}

// Compressions are the names that compression may have.
func Compressions() []string {
	var names []string
	for _, c := range compressions {
		names = append(names, c.name)
	}
	return names
}

// codec is a compression with its options.
type codec struct {
	*compression
	o options
}

func (a *Args) codec() (codec, error) {
	name := a.Compression
	if name == "" {
		name = "none"
	}
	for i := range compressions {
		c := &compressions[i]
		if c.name != name {
			continue
		}
		o, err := c.options.with("compression_args", name, a.CompressionArgs)
		if err == nil && c.check != nil {
			err = c.check(o)
		}
		return codec{c, o}, err
	}
	return codec{}, fmt.Errorf("train: compression %q is unknown; known are %s", name, strings.Join(Compressions(), ", "))
}

// lossy says whether what is sent differs from what was computed, so that replicas keep the rest.
func (c codec) lossy() bool { return c.name != "none" }

// feed encodes x and what rest holds of rounds before, and leaves in rest what the encoding lost. rest is nil where nothing is lost. x is
// overwritten.
func (c codec) feed(name string, x, rest []float32) ([]byte, error) {
	for i := range rest {
		x[i] += rest[i]
	}
	if kernels.NonFinite(x) >= 0 {
		return nil, fmt.Errorf("what a replica sends of %s is not finite: lower learning_rate", name)
	}
	b := c.encode(c.o, x)
	if rest == nil {
		return b, nil
	}
	if err := c.decode(c.o, b, rest); err != nil {
		return nil, err
	}
	for i := range rest {
		rest[i] = x[i] - rest[i]
	}
	return b, nil
}

// UpdateBytes is about what a replica sends a round for parameters of the given numbers of values. The settings have passed Validate.
func UpdateBytes(args *Args, sizes []int) int64 {
	c, err := args.codec()
	if err != nil {
		return 0
	}
	n := int64(0)
	for _, s := range sizes {
		n += int64(c.size(c.o, s))
	}
	return n
}

func encodeFloats(_ options, x []float32) []byte {
	b := make([]byte, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	}
	return b
}

func decodeFloats(_ options, b []byte, dst []float32) error {
	if len(b) != 4*len(dst) {
		return fmt.Errorf("%d bytes, want %d", len(b), 4*len(dst))
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return nil
}
