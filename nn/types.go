package nn

import (
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
)

// Extent names a dimension whose size changes from step to step.
type Extent uint8

// The extents of a step. Const marks a dimension of fixed size.
const (
	Const Extent = iota
	T            // tokens of the step, all documents packed one after another
	S            // supervised positions
	N            // documents
	C            // rows of the KV cache
)

// Caps are the largest extents that a program is planned for.
type Caps struct{ T, S, N, C int }

// Shape is the shape of a value: [rows, Cols] float32, row-major. Rows is an extent, or Count rows where Rows is Const.
type Shape struct {
	Rows  Extent
	Count int
	Cols  int
}

// At is the number of rows under the extents c.
func (s Shape) At(c Caps) int {
	switch s.Rows {
	case T:
		return c.T
	case S:
		return c.S
	case N:
		return c.N
	case C:
		return c.C
	}
	return s.Count
}

// mostValues is what Len gives at most: more than any memory holds, and little enough for a program's sums of such numbers.
const mostValues = 1 << 46

// Len is the number of float32 values under the extents c.
func (s Shape) Len(c Caps) int {
	rows := s.At(c)
	if rows > 1<<24 && s.Cols > mostValues/rows {
		return mostValues
	}
	return rows * s.Cols
}

// Ref names a value of a program under construction.
type Ref int

// NoRef is the Ref of no value.
const NoRef Ref = -1

// Kind says what a site is.
type Kind uint8

// The kinds of sites, by what an adapter may do there.
const (
	KindEmbedding Kind = iota
	KindLinear
	KindAttention
	KindNorm
	KindSublayer // the output of an attention or MLP sublayer, before the residual is added
	KindBlock    // the output of a whole transformer block
	KindHead
)

var kindNames = [...]string{"embedding", "linear", "attention", "norm", "sublayer", "block", "head"}

// String is the kind's name in lower case.
func (k Kind) String() string { return kindNames[k] }

// Site is a named place where an adapter may attach. Name is the Hugging Face module path, such as
// "model.layers.0.self_attn.q_proj"; Layer is the block's index, -1 outside the blocks. Op has been applied to In and
// gave Out. Op is nil for sublayers and blocks, which are names for the value In[0]; In[1] of a sublayer is the residual stream that the
// sublayer read and is added to. It is absent where a block adds two sublayers to its input at once and this is not the first of them.
type Site struct {
	Kind  Kind
	Name  string
	Layer int
	Op    Op
	In    []Ref
	Out   Ref
}

// Adapter wires itself into a site and returns the site's new output, or s.Out to decline.
type Adapter interface {
	Adapt(b *Builder, s Site) Ref
}

// Wiring is something that writes a forward pass into a Builder, such as a model. It must make the same calls each time.
type Wiring interface {
	Wire(b *Builder)
}

// Plan is what an op tells the planner, once, when it is applied.
type Plan struct {
	Out      Shape
	ReadsIn  []bool                        // Backward reads In[i]; nil means none
	ReadsOut bool                          // Backward reads Out
	Saved    []Shape                       // values that Forward writes for Backward
	State    []Shape                       // values that live from step to step, such as a KV cache; zero at first
	Scratch  func(c Caps, threads int) int // float32 values of scratch at capacity; nil means none
	Held     func(c Caps) kernels.Held     // what kernels keep beside Scratch at capacity; nil means nothing
	Pass     []bool                        // the gradient of In[i] is that of Out: Backward leaves DIn[i] alone
	Sets     []bool                        // Backward can write the gradient of In[i] rather than add to it: see Work.Beta
	InPlace  []bool                        // Out may take over the memory of In[i]: Forward works when they are the same slice
	Cheap    bool                          // Forward may be run again before Backward rather than keep Out
	Wide     bool                          // Out is float32 whatever the program's dtype: the residual stream
}

// Op is one coarse differentiable step.
type Op interface {
	// Plan gives the output's shape and what Backward will read. want[i] says whether the gradient of In[i] is wanted.
	// It runs once, when the op is applied.
	Plan(in []Shape, want []bool) Plan
	// Forward computes w.Out and w.Saved from w.In, at the actual extents of w.Step.
	Forward(w *Work)
	// Backward adds to w.DIn[i] where it is not nil, or writes it where w.Beta(i) is 0. It must not change w.DOut.
	Backward(w *Work)
}

// Work is what an op gets to work on: slices cut to the step's actual extents. An input that is a parameter is its
// whole bank, [Slots, Rows, Cols]; see Bank.
type Work struct {
	Step     *Step
	Pool     *pool.Pool
	Training bool   // dropout is active
	Seed     uint64 // of the run, for counter-based random numbers
	In       [][]float32
	DIn      [][]float32 // nil where no gradient is wanted
	first    []bool      // DIn[i] holds nothing yet
	Out      []float32
	DOut     []float32
	Saved    [][]float32
	State    [][]float32
	Scratch  []float32
}

// Beta is what Backward multiplies DIn[i] by before it adds: 1, or, of an input of which the op's Plan says Sets, 0 where the op is the
// first to give a gradient, and the memory holds anything. That saves clearing it and reading zeros.
func (w *Work) Beta(i int) float32 {
	if w.first != nil && w.first[i] {
		return 0
	}
	return 1
}

// Segment says that the token rows [Start, End) use the adapter slot Slot; -1 is the base model alone.
type Segment struct{ Start, End, Slot int }

// AddSegment adds the rows [start, end) of a slot to a step's segments; those that follow rows of the same slot lengthen their segment.
func AddSegment(to []Segment, start, end, slot int) []Segment {
	if n := len(to); n > 0 && to[n-1].End == start && to[n-1].Slot == slot {
		to[n-1].End = end
		return to
	}
	return append(to, Segment{start, end, slot})
}

// Text is a text of which a document is a part: Tokens are all that is known of it, those of the document from At on.
type Text struct {
	Tokens []int32
	At     int
}

// Step is the input of one forward pass: documents packed one after another.
type Step struct {
	Tokens    []int32       // [T] token ids
	Positions []int32       // [T] position of each token in its document
	Docs      []kernels.Doc // [N] row ranges, cached rows before them, prefix slot
	DocIDs    []uint64      // [N] sequence ids for random numbers; nil means the index in Docs
	Rows      []int32       // [S] rows whose prediction is wanted; -1-i is the i'th virtual row of the step
	Labels    []int32       // [S] the token that each of them should predict; unread when logits are wanted
	// [S, V] the distribution that each of them should predict in place of a label, in training; nil for the labels. Rows beyond these, of
	// virtual tokens, keep theirs
	Targets []float32
	// Divergence, if not nil, asks for that from the targets, which are logarithms of probabilities then, in a program for scores, too.
	Divergence *Divergence
	// Scores says that the labels' logits are wanted, not log p: of a head whose rows are scores, such as a reward.
	Scores bool
	// Temperature, above 0, divides the logits, after the soft cap; 0 for 1.
	Temperature float32
	Stats       *RowStats // where the head writes what is wanted beside log p; nil for nothing
	Segments    []Segment // adapter slot of each token range, in order; nil means slot 0 for all
	Tasks       []int32   // [N] task of each document, for methods that tell tasks apart; nil means task 0 for all
	Texts       []Text    // [N] what each document is a part of, for ops that go by the whole; nil where it is the whole
	Virtual     []int32   // [N] virtual rows at the start of each document; a program with a Prompter sets it
	Group       int       // documents, one after another, that [Program.Parts] keeps together; 0 for 1
	Index       uint64    // optimiser step, for random numbers
}

func (s *Step) extents(cache int) Caps {
	return Caps{T: len(s.Tokens), S: len(s.Rows), N: len(s.Docs), C: cache}
}

// EachSegment calls f for each segment of the step, [0, T) in slot 0 when the step names none.
func (w *Work) EachSegment(f func(start, end, slot int)) {
	if w.Step.Segments == nil {
		f(0, len(w.Step.Tokens), 0)
		return
	}
	for _, s := range w.Step.Segments {
		f(s.Start, s.End, s.Slot)
	}
}

// Segments returns the step's segments, [0, T) in slot 0 when the step names none.
func (w *Work) Segments() []Segment {
	if w.Step.Segments == nil {
		return []Segment{{0, len(w.Step.Tokens), 0}}
	}
	return w.Step.Segments
}

// Bank cuts the slot'th entry of size values out of a parameter's bank.
func Bank(bank []float32, slot, size int) []float32 {
	if bank == nil {
		return nil
	}
	return bank[slot*size : (slot+1)*size : (slot+1)*size]
}

// length is the number of positions of the text that the i'th document belongs to: what ops go by that depend on it, so that a text that
// comes in parts gets what it gets at once.
func (s *Step) length(i int) int {
	n := 0
	for _, p := range s.Positions[s.Docs[i].Start:s.Docs[i].End] {
		n = max(n, int(p)+1)
	}
	if s.Texts != nil {
		n += len(s.Texts[i].Tokens) - s.Texts[i].At - s.rows(i)
	}
	return n
}

// rows is the number of the i'th document's rows without virtual ones.
func (s *Step) rows(i int) int {
	n := int(s.Docs[i].End - s.Docs[i].Start)
	if s.Virtual != nil {
		n -= int(s.Virtual[i])
	}
	return n
}

// Text is the text of the i'th document and the row that its first token has, or would have: before the document where a part of it came in
// earlier steps.
func (s *Step) Text(i int) (tokens []int32, first int) {
	d := &s.Docs[i]
	first = int(d.End) - s.rows(i)
	if s.Texts == nil {
		return s.Tokens[first:d.End], first
	}
	return s.Texts[i].Tokens, first - s.Texts[i].At
}

// DocID is the id of the i'th document of the step, for random numbers.
func (s *Step) DocID(i int) uint64 {
	if s.DocIDs == nil {
		return uint64(i)
	}
	return s.DocIDs[i]
}
