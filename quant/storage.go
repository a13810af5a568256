package quant

import (
	"fmt"
	"strings"

	"github.com/adaptflow/adaptflow/internal/ggml"
)

// Storage is a way of storing frozen weights.
type Storage struct {
	Name string // torch's, or bitsandbytes', with _dq for double quantisation
	// begin starts storing a matrix [out, in]. half says that products may round what they expand to bfloat16.
	begin func(out, in int, half bool) sink
	Code  *Code4 // of a 4-bit storage, nil for the others
	// Double is double quantisation.
	Double bool
	Int8   bool // LLM.int8
	// Format is the blocks of a storage of ggml's, nil for the others. A row of a matrix has a whole number of them.
	Format *ggml.Format
}

// Quantised says whether the storage is one of codes.
func (s *Storage) Quantised() bool { return s.Code != nil || s.Int8 || s.Format != nil }

// Storages is the table of storages. A new one is a file and a row here; the row drives its tests.
var Storages = []Storage{
	{Name: "float32", begin: beginDense(false)},
	{Name: "bfloat16", begin: beginDense(true)},
	{Name: "nf4", begin: beginBits4(NF4, false), Code: NF4},
	{Name: "nf4_dq", begin: beginBits4(NF4, true), Code: NF4, Double: true},
	{Name: "fp4", begin: beginBits4(FP4, false), Code: FP4},
	{Name: "fp4_dq", begin: beginBits4(FP4, true), Code: FP4, Double: true},
	{Name: "int8", begin: beginInt8, Int8: true},
	ofGGML("q4_0"), ofGGML("q4_1"), ofGGML("q5_0"), ofGGML("q5_1"), ofGGML("q8_0"),
	ofGGML("q2_k"), ofGGML("q3_k"), ofGGML("q4_k"), ofGGML("q5_k"), ofGGML("q6_k"),
}

// ofGGML is the row of a format of package ggml, under its name there in small letters.
func ofGGML(name string) Storage {
	f := ggml.Named(strings.ToUpper(name))
	return Storage{Name: name, begin: beginBlocks(f), Format: f}
}

// BlockSize is bitsandbytes' default number of values of a 4-bit block.
const BlockSize = 64

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

// Where the dense matrices of a model lie: Spec.Place.
const (
	InMemory = ""         // in this process's memory
	Mapped   = "mapped"   // in a file of the cache, mapped into memory that all processes of the machine share
	Streamed = "streamed" // in that file, and of it in memory what is being used
	Reread   = "reread"   // in the model's own files, read and packed by each use: for a pass or two
)

// Spec says how a model's weights are stored: embeddings and the head as Dense, the projections of the blocks as Linear. Its text is
// "float32", "bfloat16", or such a name with a quantised one, "bfloat16+nf4"; with "@mapped", "@streamed" or "@reread" after it the dense
// matrices lie in a file. "bfloat16+keep" leaves every matrix that a GGUF file has in blocks as it is, the embeddings' too.
type Spec struct {
	Dense, Linear *Storage
	Keep          bool
	Place         string
}

// keepName stands for a quantised storage in the text of a Spec: the blocks that the file has.
const keepName = "keep"

// Text is what ParseSpec reads, without the place, which changes no value.
func (s Spec) Text() string {
	if s.Keep {
		return s.Dense.Name + "+" + keepName
	}
	if s.Linear == s.Dense {
		return s.Dense.Name
	}
	return s.Dense.Name + "+" + s.Linear.Name
}

// ParseSpec reads the text of a Spec.
func ParseSpec(text string) (Spec, error) {
	values, place, _ := strings.Cut(text, "@")
	if strings.Contains(text, "@") && place != Mapped && place != Streamed && place != Reread {
		return Spec{}, fmt.Errorf("storage %q: after @ comes %s, %s or %s", text, Mapped, Streamed, Reread)
	}
	dense, linear, two := strings.Cut(values, "+")
	d, err := storageOf(dense)
	if err != nil {
		return Spec{}, err
	}
	if d.Quantised() {
		return Spec{}, fmt.Errorf("storage %q: embeddings and the head are not quantised; write bfloat16+%s or float32+%s",
			text, dense, dense)
	}
	s := Spec{Dense: d, Linear: d, Keep: two && linear == keepName, Place: place}
	if two && !s.Keep {
		if s.Linear, err = storageOf(linear); err != nil {
			return Spec{}, err
		}
		if !s.Linear.Quantised() {
			return Spec{}, fmt.Errorf("storage %q: %s is not a quantised storage", text, linear)
		}
	}
	return s, nil
}

// Half says whether products round to bfloat16.
func (s Spec) Half() bool { return s.Dense.Name == "bfloat16" }
