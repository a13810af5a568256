package evaluate

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// Generator continues prompts with a KV cache, several at a time. No bit of a sequence's logits depends on those beside it, nor on the
// pieces in which its prompt is read.
type Generator struct {
	// Slot is the adapters' slot that all is generated with; -1 for the base alone.
	Slot int
	// Slots are those of each prompt of [Generator.GenerateAll], by its index; nil for Slot for all.
	Slots []int
	// Draws number the random numbers of each prompt; nil for its index. Prompts of one number, of equal tokens, are continued alike.
	Draws []uint64

	prog    *nn.Program
	pool    *pool.Pool
	vocab   int
	tokens  int // of a forward pass
	context int // of a sequence, prompt and continuation together
	region  int // rows of the cache that a sequence has, those of virtual tokens among them
	slots   []*sequence
	seen    func(q *sequence, logits []float32) // in tests: the logits of each token
}

// sequence is a prompt and what has been added to it.
type sequence struct {
	index  int // of the prompt
	prompt int // its tokens
	seen   []int32
	past   int // tokens of seen that are in the cache
}

// prefill is the largest number of tokens that one forward pass takes: prompts are read by so many, at the speed of training.
const prefill = 512

// Memory says how many sequences a [Generator] holds at a time, and how.
type Memory struct {
	Context   int      // tokens of a sequence, prompt and continuation together
	Sequences int      // at a time
	Cache     nn.DType // of keys and values: nn.BFloat16 takes half the memory, and rounds them
}

// NewGenerator compiles a program for up to sequences contexts at a time, of up to context tokens each.
func NewGenerator(w nn.Wiring, adapters []nn.Adapter, params *nn.Params, p *pool.Pool, vocab, context, sequences int) (*Generator, error) {
	return CompileGenerator(w, adapters, params, p, vocab, Memory{Context: context, Sequences: sequences})
}

// CompileGenerator is NewGenerator with a cache of a dtype.
func CompileGenerator(w nn.Wiring, adapters []nn.Adapter, params *nn.Params, p *pool.Pool, vocab int, m Memory) (*Generator, error) {
	virtual := nn.PromptOf(adapters).Rows
	region := (m.Context + virtual + kernels.CacheUnit - 1) / kernels.CacheUnit * kernels.CacheUnit
	// The program adds the virtual rows of one sequence to the cache itself.
	c := nn.Caps{T: max(min(prefill, m.Context*m.Sequences), m.Sequences), S: m.Sequences, N: m.Sequences,
		C: region*m.Sequences - virtual}
	prog, err := nn.Compile(w, adapters, params, nn.Options{Mode: nn.ModeLogits, Caps: c, Pool: p, Cache: true, CacheDType: m.Cache})
	if err != nil {
		return nil, err
	}
	return &Generator{prog: prog, pool: p, vocab: vocab, tokens: c.T, context: m.Context, region: region,
		slots: make([]*sequence, m.Sequences)}, nil
}

// CacheBytes is the memory of the KV cache of all sequences.
func (g *Generator) CacheBytes() int64 { return g.prog.Memory().State }

// Close frees the program.
func (g *Generator) Close() { g.prog.Close() }

// Generate continues prompt until one of eos, max_new_tokens or the end of the context, and returns the new tokens, eos among them.
// each, if not nil, is called with every new token; it returns false to stop. The same prompt, settings and seed give the same tokens.
func (g *Generator) Generate(prompt []int32, s Sampling, eos []int32, each func(id int32) bool) ([]int32, error) {
	var only func(int, int32, bool) (bool, error)
	if each != nil {
		only = func(_ int, id int32, _ bool) (bool, error) { return each(id), nil }
	}
	out, err := g.GenerateAll([][]int32{prompt}, s, eos, only)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// GenerateAll is Generate for many prompts, as many at a time as the generator has room for: where one ends, the next takes its place. Each
// has random numbers of its own, so that equal prompts are continued differently where tokens are drawn. each, if not nil, is called with
// every new token, the index of its prompt and whether it is the last: it returns false to end that continuation, or an error to end all.
func (g *Generator) GenerateAll(prompts [][]int32, s Sampling, eos []int32,
	each func(prompt int, id int32, last bool) (bool, error)) ([][]int32, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	for i, p := range prompts {
		if len(p) == 0 {
			return nil, fmt.Errorf("prompt %d has no tokens", i+1)
		}
		if len(p) >= g.context {
			return nil, fmt.Errorf("prompt %d has %d tokens, the context %d", i+1, len(p), g.context)
		}
		for _, id := range p {
			if id < 0 || int(id) >= g.vocab {
				return nil, fmt.Errorf("prompt %d has the token id %d, but the model's vocabulary is %d: its tokenizer is another "+
					"model's, or has tokens added that the model has no rows for",
					i+1, id, g.vocab)
			}
		}
	}
	clear(g.slots)
	out := make([][]int32, len(prompts))
	key := philox.NewKey(s.Seed, "sample", "")
	var asked []*sequence
	ids := make([]int32, len(g.slots))
	for next, live := 0, 0; next < len(prompts) || live > 0; {
		for i := range g.slots {
			if g.slots[i] == nil && next < len(prompts) {
				g.slots[i] = &sequence{index: next, prompt: len(prompts[next]), seen: slices.Clone(prompts[next])}
				next, live = next+1, live+1
			}
		}
		step, rows := g.step(asked[:0])
		asked = rows
		logits := g.prog.Forward(step, false)
		var bad atomic.Bool
		g.pool.Run(len(asked), func(i int) {
			q, l := asked[i], logits[i*g.vocab:(i+1)*g.vocab]
			if kernels.NonFinite(l) >= 0 && slices.ContainsFunc(l, func(v float32) bool { return !(v <= math.MaxFloat32) }) {
				bad.Store(true)
				return
			}
			if g.seen != nil {
				g.seen(q, l)
			}
			s.Process(l, Context{Seen: q.seen, Prompt: q.prompt, EOS: eos})
			ids[i] = pick(&s, l, key, g.draw(q), uint64(len(q.seen)-q.prompt))
		})
		if bad.Load() {
			return nil, fmt.Errorf("the model's logits are not finite: %s", g.prog.Why(step, false))
		}
		for i, q := range asked {
			id := ids[i]
			q.seen = append(q.seen, id)
			last := slices.Contains(eos, id) || len(q.seen)-q.prompt == s.MaxNewTokens || len(q.seen) == g.context
			if each != nil {
				more, err := each(q.index, id, last)
				if err != nil {
					return nil, err
				}
				last = last || !more
			}
			if last {
				out[q.index] = q.seen[q.prompt:]
				g.slots[slices.Index(g.slots, q)] = nil
				live--
			}
		}
	}
	return out, nil
}

// step is the next forward pass: a token of each sequence that is being continued, and of the prompts that are being read as many as there
// is room for beside them. It appends to asked the sequences whose next token it asks for, in the order of its rows.
func (g *Generator) step(asked []*sequence) (*nn.Step, []*sequence) {
	step := &nn.Step{}
	for _, reading := range []bool{false, true} {
		for i, q := range g.slots {
			if q == nil || reading == (len(q.seen)-q.past == 1) {
				continue
			}
			at := len(step.Tokens)
			n := min(len(q.seen)-q.past, g.tokens-at)
			if n == 0 {
				break // the others' turn comes when prompts are read
			}
			for t := range n {
				step.Positions = append(step.Positions, int32(q.past+t))
			}
			step.Tokens = append(step.Tokens, q.seen[q.past:q.past+n]...)
			step.Docs = append(step.Docs,
				kernels.Doc{Start: int32(at), End: int32(at + n), Past: int32(q.past), Cache: int32(i * g.region)})
			step.Texts = append(step.Texts, nn.Text{Tokens: q.seen, At: q.past})
			if g.Slots != nil {
				step.Segments = nn.AddSegment(step.Segments, at, at+n, g.Slots[q.index])
			}
			if q.past += n; q.past == len(q.seen) {
				step.Rows = append(step.Rows, int32(at+n-1))
				asked = append(asked, q)
			}
		}
	}
	if g.Slots == nil && g.Slot != 0 {
		step.Segments = []nn.Segment{{End: len(step.Tokens), Slot: g.Slot}}
	}
	return step, asked
}

// draw is the number of a sequence's random numbers.
func (g *Generator) draw(q *sequence) uint64 {
	if g.Draws == nil {
		return uint64(q.index)
	}
	return g.Draws[q.index]
}

// pick chooses the n'th new token of a sequence.
func pick(s *Sampling, logits []float32, key philox.Key, sequence, n uint64) int32 {
	best := kernels.Argmax(logits)
	if !s.DoSample {
		return int32(best)
	}
	w := key.At(sequence, n)
	u := philox.Uniform64(w[0], w[1])
	for i, p := range Softmax(logits) {
		if u -= p; u < 0 {
			return int32(i)
		}
	}
	return int32(best)
}
