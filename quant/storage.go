package quant

import (
	"fmt"
	"strings"
)

// Storage is a way of storing frozen weights.
type Storage struct {
	Name string // torch's, or bitsandbytes', with _dq for double quantisation
	// New stores the matrix [out, in] whose element (o, i) is w[o·rs + i·cs]. half says that products may round what they expand to bfloat16.
	New  func(out, in int, w []float32, rs, cs int, half bool) Weight
	Code *Code4 // of a quantised storage, nil for the others
	// Double is double quantisation.
	Double bool
}

// Storages is the table of storages. A new one is a file and a row here; the row drives its tests.
var Storages = []Storage{
	{Name: "float32", New: func(out, in int, w []float32, rs, cs int, _ bool) Weight { return NewF32(out, in, w, rs, cs) }},
	{Name: "bfloat16", New: func(out, in int, w []float32, rs, cs int, _ bool) Weight { return NewBF16(out, in, w, rs, cs) }},
	{Name: "nf4", New: bits4(NF4, false), Code: NF4},
	{Name: "nf4_dq", New: bits4(NF4, true), Code: NF4, Double: true},
	{Name: "fp4", New: bits4(FP4, false), Code: FP4},
	{Name: "fp4_dq", New: bits4(FP4, true), Code: FP4, Double: true},
}

// BlockSize is bitsandbytes' default number of values of a 4-bit block.
const BlockSize = 64

// bits4 quantises to a 4-bit code as bitsandbytes does by default.
func bits4(c *Code4, double bool) func(out, in int, w []float32, rs, cs int, half bool) Weight {
	return func(out, in int, w []float32, rs, cs int, half bool) Weight {
		return NewBits4(Quantize4(c, RowMajor(out, in, w, rs, cs), out, in, BlockSize, double), half)
	}
}

// RowMajor is the matrix [out, in] whose element (o, i) is w[o·rs + i·cs], row-major: w itself where it is that.
func RowMajor(out, in int, w []float32, rs, cs int) []float32 {
	check(out, in, w, rs, cs)
	if rs == in && cs == 1 {
		return w
	}
	rows := make([]float32, out*in)
	for o := range out {
		for i := range in {
			rows[o*in+i] = w[o*rs+i*cs]
		}
	}
	return rows
}

func storageOf(name string) (*Storage, error) {
	var names []string
	for i := range Storages {
		if Storages[i].Name == name {
			return &Storages[i], nil
		}
		names = append(names, Storages[i].Name)
	}
	return nil, fmt.Errorf("no storage of weights is called %q; there are %s", name, strings.Join(names, ", "))
}

// Spec says how a model's weights are stored: embeddings and the head as Dense, the projections of the blocks as Linear. Its text is
// "float32", "bfloat16", or such a name with a quantised one, "bfloat16+nf4".
type Spec struct{ Dense, Linear *Storage }

// ParseSpec reads the text of a Spec.
func ParseSpec(text string) (Spec, error) {
	dense, linear, two := strings.Cut(text, "+")
	d, err := storageOf(dense)
	if err != nil {
		return Spec{}, err
	}
	if d.Code != nil {
		return Spec{}, fmt.Errorf("storage %q: embeddings and the head are not quantised; write bfloat16+%s or float32+%s", text, dense, dense)
	}
	s := Spec{d, d}
	if two {
		if s.Linear, err = storageOf(linear); err != nil {
			return Spec{}, err
		}
		if s.Linear.Code == nil {
			return Spec{}, fmt.Errorf("storage %q: %s is no quantised storage", text, linear)
		}
	}
	return s, nil
}

// Half says whether products round to bfloat16.
func (s Spec) Half() bool { return s.Dense.Name == "bfloat16" }
