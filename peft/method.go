package peft

import (
	"fmt"
	"reflect"
	"sort"
	"strings"

	"github.com/adaptflow/adaptflow/internal/nearest"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/nn"
)

// Env is what a method knows about the base model beside its sites.
type Env struct {
	ModelType string // config.json's model_type ("llama"), for the default target_modules
	BaseModel string // written as base_model_name_or_path
	Revision  string // of the base model, may be empty
	Seed      uint64 // of the run; parameters start from it and their own names
	Tied      bool   // the head shares the input embedding's weight; also found from the sites when they share it
	// Embeddings is the adapter's folder whose embedding and head the base was opened with, which the adapter's folder then holds too, and
	// the tokenizer that it has; empty for the base's own.
	Embeddings string
}

// Method is one way of adapting a model. The constructor in its row of [Methods] has set the defaults; the
// configuration is then decoded into Config(), and Attach resolves it against the sites. Adapt must add nothing that
// Params does not list.
type Method interface {
	nn.Adapter
	// Type is HF's peft_type, such as "LORA".
	Type() string
	// Config is a pointer to the method's configuration, whose fields carry HF's names in `json` tags.
	Config() any
	// Attach checks the configuration and finds the targets. Errors name the field and what would be right.
	Attach(sites []nn.Site, env Env) error
	// Params lists the trainable parameters, in the order of the sites. Valid after Attach.
	Params() []*Param
	// Frozen lists the tensors of the adapter folder that are not trained. Valid after Attach.
	Frozen() []Frozen
	// Targets lists the full names of the adapted modules, in the order of the sites. Valid after Attach.
	Targets() []string
	// Segmentable says whether one step may use several adapter slots (nn.Step.Segments).
	Segmentable() bool
}

// Merger is a method whose effect can be folded into the base model's weights.
type Merger interface {
	// Merge returns the changed tensors of the base by HF tensor name, in the layout in which the base stores them. value returns a
	// parameter's values by its name, base those of a base tensor. Of modules that are not wanted the tensors may be left out.
	Merge(value func(name string) []float32, base func(tensor string) ([]float32, error), want Wanted) (map[string][]float32, error)
}

// Stepper is a method that changes its parameters or its own state after an optimiser step (AdaLoRA's rank allocation).
type Stepper interface {
	// Step runs after the optimiser's step number index, counted from 0, with the gradients that the step used; total is the length of the
	// run.
	Step(params *nn.Params, slot, index, total int) error
	// State is what a checkpoint must keep beside the parameters.
	State() ([]byte, error)
	// SetState restores what State returned.
	SetState([]byte) error
}

// storer is a method whose folder holds a parameter's values in another form.
type storer interface {
	// saving is called before a slot is written, to bring the configuration up to date with it.
	saving(slot int)
	// stored gives the tensors of a parameter with the slot's values v; nil for the values themselves under its key.
	stored(p *Param, v []float32, slot int) []safetensors.Tensor
	// restored reads the values back and names the tensors that it used; nil to read the parameter's key.
	restored(p *Param, f safetensors.Source, path string) (v []float32, keys []string, err error)
}

// shaped is a method that looks at the shapes of an opened folder's tensors before Attach; of gives nil for a tensor that is not there.
type shaped interface {
	shapes(of func(key string) []int)
}

// Regulariser is a method that adds a term of its own to the loss (AdaLoRA's orthogonality).
type Regulariser interface {
	// Regularise adds the term's gradient to those of a slot's parameters, where there are any, and returns the term.
	Regularise(params *nn.Params, slot int) float64
}

// Prompter is a method that puts virtual tokens before each document, as rows or as a prefix of attention.
type Prompter interface{ Prompt() nn.Prompt }

// Factor is a low-rank pair of parameters, by their names: a module's weight [out, in] gets Scale·B·A, A [r, in], B [out, r].
type Factor struct {
	A, B  string
	Scale float64
}

// Factored is a method whose updates are products of two trained parameters, for optimisers that treat these as a pair (LoRA-FA).
type Factored interface {
	// Factors lists the pairs, or says why the adapter's updates are more than such products. Valid after Attach.
	Factors() ([]Factor, error)
}

// Encoder is a method whose folder holds what its parameters compute rather than the parameters (P-tuning's prompts): a Param without a
// Key is not saved.
type Encoder interface {
	// Encode returns the tensors that the folder holds beside the parameters with a key. value returns a parameter's values by its name.
	Encode(value func(name string) []float32) []Frozen
	// Reopen turns the attached method into that of an opened folder. read returns a tensor of the folder.
	Reopen(read func(key string, shape ...int) ([]float32, error)) error
}

// Param is one trainable parameter of an adapter: an nn parameter and its tensor in the adapter folder.
type Param struct {
	Name       string              // of the nn parameter: torch's name without the adapter's
	Key        string              // in adapter_model.safetensors; empty for one that only an Encoder's tensors are made of
	Also       []string            // more keys under which the folder holds it: other modules that share it
	Rows, Cols int                 // of the nn parameter
	Shape      []int               // of the tensor in the file
	Init       func(dst []float32) // starting values, [Rows, Cols]
}

// Size is the number of values.
func (p *Param) Size() int { return p.Rows * p.Cols }

// param declares p to the builder.
func (p *Param) param(b *nn.Builder) nn.Ref { return b.Param(p.Name, p.Rows, p.Cols, p.Init) }

// Frozen is a tensor that the adapter folder holds though it is not trained, such as the base embedding that HF saves
// beside an adapted embedding, or a random projection. Values is called when saving. Where Load is nil an opened folder's values must be
// these, up to the file's precision: they show that the adapter was made for this base model. Otherwise Load takes the folder's values.
type Frozen struct {
	Key    string
	Shape  []int
	Values func() []float32
	Load   func(v []float32)
	Check  func(v []float32) error // refuses values before Load takes them; nil accepts all
	Int    bool                    // stored as I32
	Need   bool                    // a folder without it is an error
}

// Row is a method's entry in the table. Of a program's own method see [Register].
type Row struct {
	Type string        // HF's peft_type
	New  func() Method // with HF's defaults
	Doc  string        // one line: what it is and its paper
	// Compare has the fields by which the method departs from what a comparison gives every one (see [Row.Comparable]); nil leaves a field
	// at HF's default.
	Compare map[string]any

	registered bool // by a program of another module
}

// Comparable is a configuration to compare the method with others on one model: the rank where it has one, all linear layers where it
// adapts linear layers, sixteen virtual tokens where it has those, its row's Compare, and HF's defaults elsewhere.
func (r Row) Comparable(rank int) map[string]any {
	known := map[string]reflect.Value{}
	collect(reflect.ValueOf(r.New().Config()).Elem(), known)
	out := map[string]any{}
	for name, v := range map[string]any{"r": rank, "lora_alpha": 2 * rank, "num_virtual_tokens": 16, "target_modules": "all-linear"} {
		if _, ok := known[name]; ok {
			out[name] = v
		}
	}
	for name, v := range r.Compare {
		if out[name] = v; v == nil {
			delete(out, name)
		}
	}
	return out
}

// Register adds a method of a program's own to [Methods], so that [New] and [Open] know it, and with them training, recipes and workers. It
// is called from an init function, for workers are the same program. A type that is there already, in any case, is a fault of the program:
// it panics, as do a row without a type or a constructor. HF PEFT does not open the folders of such a method, as their cards say.
func Register(r Row) {
	if r.Type == "" || r.New == nil {
		panic("peft: Register: a method has a type and a constructor")
	}
	if _, err := find(r.Type); err == nil {
		panic(fmt.Sprintf("peft: Register: there is a method %s already", r.Type))
	}
	r.registered = true
	Methods = append(Methods, r)
}

// find returns the row of a peft_type, written in any case.
func find(peftType string) (Row, error) {
	var known []string
	for _, r := range Methods {
		if strings.EqualFold(r.Type, peftType) {
			return r, nil
		}
		known = append(known, r.Type)
	}
	sort.Strings(known)
	return Row{}, fmt.Errorf("peft: unknown method (peft_type) %q; the nearest known one is %s, of %s", peftType,
		nearest.Name(strings.ToUpper(peftType), known),
		strings.Join(known, ", "))
}
