package export

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/adaptflow/adaptflow/internal/ggml"
)

// ggufQuant is a row of the table of quantisations: what the matrices of a GGUF file are stored in.
type ggufQuant struct {
	Name     string
	FileType uint32    // general.file_type
	Base     ggml.Type // of matrices that Mixed says nothing of
	// Mixed gives a matrix another type: place is its name in the file without the layer; more says that the layer is one of those that get
	// more bits. nil for none.
	Mixed func(place string, more bool) (ggml.Type, bool)
	Doc   string
}

// ggufQuants is the table. The mixtures and what takes the place of a type whose blocks do not fit a matrix's rows are those of llama.cpp's
// llama-quantize (src/llama-quant.cpp), without an importance matrix.
var ggufQuants = []ggufQuant{
	{Name: "F32", FileType: 0, Base: ggml.F32, Doc: "float32"},
	{Name: "F16", FileType: 1, Base: ggml.F16, Doc: "half precision"},
	{Name: "BF16", FileType: 32, Base: ggml.BF16, Doc: "bfloat16"},
	{Name: "Q8_0", FileType: 7, Base: ggml.Q8_0, Doc: "8.5 bits a weight"},
	{Name: "Q6_K", FileType: 18, Base: ggml.Q6_K, Mixed: sixBitHead, Doc: "6.6 bits a weight"},
	{Name: "Q5_K_M", FileType: 17, Base: ggml.Q5_K, Mixed: mixture(ggml.Q6_K),
		Doc: "5.7 bits a weight; 6.6 of the head, and of half of the values and down projections"},
	{Name: "Q4_K_M", FileType: 15, Base: ggml.Q4_K, Mixed: mixture(ggml.Q5_K),
		Doc: "4.9 bits a weight; 6.6 of the head, and of half of the values and down projections"},
	{Name: "Q4_0", FileType: 2, Base: ggml.Q4_0, Mixed: sixBitHead, Doc: "4.5 bits a weight, 6.6 of the head"},
}

// headPlace is the head of the model: the embedding where there is no other.
const headPlace = "head"

// sixBitHead gives the head more bits.
func sixBitHead(place string, _ bool) (ggml.Type, bool) { return ggml.Q6_K, place == headPlace }

// mixture gives more bits to the head, to the values and down projections of some layers, and, as fused, to queries, keys and values.
func mixture(fused ggml.Type) func(place string, more bool) (ggml.Type, bool) {
	return func(place string, more bool) (ggml.Type, bool) {
		switch place {
		case headPlace:
			return ggml.Q6_K, true
		case "attn_v", "ffn_down":
			return ggml.Q6_K, more
		case "attn_qkv":
			return fused, true
		}
		return 0, false
	}
}

// moreBits says of layer i of n whether it gets more bits: the first eighth, the last, and every third between.
func moreBits(i, n int) bool { return i < n/8 || i >= 7*n/8 || (i-n/8)%3 == 2 }

// ggufFallbacks are the types that take the place of those whose blocks of 256 do not fit a matrix's rows.
var ggufFallbacks = map[ggml.Type]ggml.Type{ggml.Q4_K: ggml.Q5_0, ggml.Q5_K: ggml.Q5_1, ggml.Q6_K: ggml.Q8_0}

// ggufQuantOf is the row of a name.
func ggufQuantOf(name string) (*ggufQuant, error) {
	for i := range ggufQuants {
		if ggufQuants[i].Name == name {
			return &ggufQuants[i], nil
		}
	}
	return nil, fmt.Errorf("the quantisation %q is unknown; known are %s", name, strings.Join(GGUFQuants(), ", "))
}

// GGUFQuants are the names of the quantisations in which models are written.
func GGUFQuants() (names []string) {
	for _, q := range ggufQuants {
		names = append(names, q.Name)
	}
	return names
}

// typeOf is the type of a tensor in a file of so many layers, and whether it takes the place of one that does not fit. tied says that the
// embedding is the head, too.
func (q *ggufQuant) typeOf(name string, shape []int, layers int, tied bool) (t ggml.Type, fell bool) {
	if len(shape) < 2 || strings.HasSuffix(name, "_norm.weight") || name == "position_embd.weight" {
		return ggml.F32, false
	}
	place, layer := strings.TrimSuffix(name, ".weight"), 0
	if rest, ok := strings.CutPrefix(place, "blk."); ok {
		n, module, _ := strings.Cut(rest, ".")
		layer, _ = strconv.Atoi(n)
		place = module
	}
	if place == "output" || place == "token_embd" && tied {
		place = headPlace
	}
	t = q.Base
	if q.Mixed != nil {
		if other, ok := q.Mixed(place, moreBits(layer, layers)); ok {
			t = other
		}
	}
	columns := shape[len(shape)-1]
	if columns%ggml.Of(t).Block != 0 {
		fell = true
		if other, ok := ggufFallbacks[t]; ok {
			t = other
		}
		if columns%ggml.Of(t).Block != 0 {
			t = ggml.F16
		}
	}
	return t, fell
}
