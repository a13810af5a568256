package evaluate

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// Batch continues sequences that come and go: each pass reads what is new of all of them. No bit of a sequence depends on those beside it,
// when it came, or where its cache lies: what [Generator.Generate] says after a prompt alone, a Batch says too.
type Batch struct {
	prog    *nn.Program
	pool    *pool.Pool
	vocab   int
	virtual int // rows of the cache before each sequence's text
	size    BatchSize
	pass    int // tokens of a prompt that are read in one pass
	scored  int // tokens of a prompt that are scored in one pass
	live    []*Sequence
	warm    []warm // the longest unused first
	shares  bool
}

// BatchSize is how much a batch holds.
type BatchSize struct {
	Context   int      // tokens of a sequence, prompt and continuation together
	Sequences int      // at a time
	Rows      int      // of the KV cache: tokens of all sequences together, virtual ones among them
	Cache     nn.DType // of keys and values: nn.BFloat16 takes half the memory, and rounds them
}

// scoredBytes bounds the logits of a prompt's tokens that one pass gives.
const scoredBytes = 32 << 20

// Sequence is a prompt that is continued, and how. What it says is read only once it has joined.
type Sequence struct {
	Prompt   []int32
	Sampling Sampling // max_new_tokens may be 0: the prompt is read, and scored with Echo
	End      []int32  // tokens that end it
	Slot     int      // the adapters' slot; -1 for the base alone
	Draw     uint64   // numbers its random numbers, where tokens are drawn
	LogProbs int      // how many of the likeliest tokens come with each token; -1 for no log-probabilities at all
	// Heat, above 0, is the temperature of the log-probabilities; 0 for 1: those of the logits as the model gives them.
	Heat float64
	// Owner names whose the prompt is, and the model that reads it: what is in the cache of a prompt's beginning is taken from sequences of
	// the same owner and slot, and from no others. "" shares nothing.
	Owner string
	Echo  bool // the prompt's tokens from the second on come too, with log-probabilities
	// Mask, if not nil, bans tokens by logits of minus infinity, given what has been generated, before all else that changes logits.
	Mask func(logits []float32, generated []int32) error

	ids      []int32
	past     int // tokens in the cache
	at, need int // its rows of the cache
	cached   int // tokens whose rows were there already
	key      philox.Key
}

// TokenProb is a token and the logarithm of its probability, by the logits as the model gives them, over [Sequence.Heat].
type TokenProb struct {
	ID      int32
	LogProb float64
}

// Said is a token that a sequence tells of.
type Said struct {
	TokenProb
	Place int         // in the sequence; below the prompt's length it is one of the prompt's
	Top   []TokenProb // the likeliest tokens there, the likeliest first
	Last  bool        // nothing follows
	Ended bool        // it is one of those that end a sequence
	Err   error       // the sequence ends for this, and there is no token
}

// ErrBanned says that a sequence's settings leave no token that its Mask allows.
var ErrBanned = errors.New("the settings leave no token that may come next")

// NewBatch compiles a program.
func NewBatch(w nn.Wiring, adapters []nn.Adapter, params *nn.Params, p *pool.Pool, vocab int, size BatchSize) (*Batch, error) {
	return newBatch(w, adapters, params, p, vocab, size, false)
}

// PlanBatch is the memory that a batch of a size takes, without taking it.
func PlanBatch(w nn.Wiring, adapters []nn.Adapter, params *nn.Params, p *pool.Pool, vocab int, size BatchSize) (nn.Memory, error) {
	b, err := newBatch(w, adapters, params, p, vocab, size, true)
	if err != nil {
		return nn.Memory{}, err
	}
	defer b.Close()
	return b.prog.Memory(), nil
}

func newBatch(w nn.Wiring, adapters []nn.Adapter, params *nn.Params, p *pool.Pool, vocab int, size BatchSize, dry bool) (*Batch, error) {
	b := &Batch{pool: p, vocab: vocab, size: size, virtual: nn.PromptOf(adapters).Rows, pass: min(prefill, size.Context)}
	b.scored = max(1, min(b.pass, scoredBytes/4/max(vocab, 1)))
	// A piece of a prompt has room beside a token of each of the others.
	caps := nn.Caps{T: b.pass + size.Sequences - 1, S: b.scored + size.Sequences - 1, N: size.Sequences,
		C: b.room() - b.virtual}
	var err error
	b.prog, err = nn.Compile(w, adapters, params, nn.Options{Mode: nn.ModeLogits, Caps: caps, Pool: p, Cache: true,
		CacheDType: size.Cache, Dry: dry})
	if err == nil {
		b.shares = b.virtual == 0 && b.prog.Shares()
	}
	return b, err
}

// rows is how many rows sequences may have together.
func (b *Batch) rows() int { return max(b.size.Rows, b.virtual+b.size.Context) }

// room is the number of rows of the cache: beside those what is left open between sequences.
func (b *Batch) room() int { return b.rows() + (kernels.CacheAlign-1)*b.size.Sequences }

// Memory is what the program takes.
func (b *Batch) Memory() nn.Memory { return b.prog.Memory() }

// Close frees the program.
func (b *Batch) Close() { b.prog.Close() }

// Live is the number of sequences, and Rows the rows of the cache that they have.
func (b *Batch) Live() (sequences, rows int) {
	for _, q := range b.live {
		rows += q.need
	}
	return len(b.live), rows
}

// Check says why a sequence can never join.
func (b *Batch) Check(q *Sequence) error {
	s := q.Sampling
	s.MaxNewTokens = max(s.MaxNewTokens, 1)
	if err := s.Validate(); err != nil {
		return err
	}
	switch n := len(q.Prompt); {
	case n == 0:
		return fmt.Errorf("the prompt has no tokens")
	case n > b.size.Context || n == b.size.Context && q.Sampling.MaxNewTokens > 0:
		return fmt.Errorf("the prompt has %d tokens, the context %d", n, b.size.Context)
	}
	for _, id := range q.Prompt {
		if id < 0 || int(id) >= b.vocab {
			return fmt.Errorf("the prompt has the token id %d, but the model's vocabulary is %d", id, b.vocab)
		}
	}
	return nil
}

// Join takes a sequence in that Check accepts; false where there is no room for it now.
func (b *Batch) Join(q *Sequence) bool {
	if len(b.live) == b.size.Sequences {
		return false
	}
	need := b.virtual + min(b.size.Context, len(q.Prompt)+q.Sampling.MaxNewTokens)
	if _, rows := b.Live(); rows+need > b.rows() {
		return false
	}
	at := b.place(need, q)
	if at < 0 {
		return false
	}
	q.ids, q.past, q.at, q.need, q.cached = slices.Clone(q.Prompt), 0, at, need, 0
	q.key = philox.NewKey(q.Sampling.Seed, "sample", "")
	b.share(q)
	b.live = append(b.live, q)
	return true
}

// Leave ends a sequence; one that has ended already is passed over.
func (b *Batch) Leave(q *Sequence) {
	if slices.Contains(b.live, q) {
		b.keep(q)
	}
	b.live = slices.DeleteFunc(b.live, func(l *Sequence) bool { return l == q })
}

// Step runs one pass, and tells what each sequence says: tokens of a prompt in their order, then at most one that is new. A sequence whose
// last token was returned has left.
func (b *Batch) Step(told func(q *Sequence, s Said)) {
	step, asked := b.step()
	if len(step.Tokens) == 0 {
		return
	}
	logits := b.prog.Forward(step, false)
	said := make([]Said, len(asked))
	b.pool.Run(len(asked), func(i int) {
		a := asked[i]
		said[i] = a.q.say(logits[i*b.vocab:(i+1)*b.vocab], a.place)
	})
	for i, a := range asked {
		q, s := a.q, said[i]
		if !slices.Contains(b.live, q) {
			continue
		}
		if s.Err != nil {
			s.Last, q.Owner = true, ""
		} else if a.place >= len(q.Prompt) {
			q.ids = append(q.ids, s.ID)
			s.Ended = slices.Contains(q.End, s.ID)
			s.Last = s.Ended || len(q.ids)-len(q.Prompt) >= q.Sampling.MaxNewTokens || len(q.ids) == b.size.Context
		} else {
			s.Last = a.place == len(q.Prompt)-1 && q.Sampling.MaxNewTokens == 0
		}
		if s.Last {
			b.Leave(q)
		}
		told(q, s)
	}
	for _, q := range slices.Clone(b.live) { // a prompt of one token, of which nothing is wanted
		if q.past == len(q.Prompt) && q.Sampling.MaxNewTokens == 0 {
			b.Leave(q)
			told(q, Said{Place: len(q.Prompt), Last: true, TokenProb: TokenProb{ID: -1}})
		}
	}
}

// row is a row of a pass of which something is asked.
type row struct {
	q     *Sequence
	place int // of the token that it predicts
}

// step is the next pass: a token of each sequence that is being continued, and of the prompts, in the order of their coming, the next piece
// as far as all of it fits. How a prompt is cut depends on itself alone.
func (b *Batch) step() (*nn.Step, []row) {
	step := &nn.Step{}
	var asked []row
	for _, prompts := range []bool{false, true} {
		for _, q := range b.live {
			if n := b.piece(q); (q.past < len(q.Prompt)) == prompts && len(step.Tokens)+n <= b.pass+b.size.Sequences-1 {
				rows := q.rows(n)
				if len(asked)+len(rows) > b.scored+b.size.Sequences-1 {
					continue
				}
				at := len(step.Tokens)
				for t := range n {
					step.Positions = append(step.Positions, int32(q.past+t))
				}
				step.Tokens = append(step.Tokens, q.ids[q.past:q.past+n]...)
				step.Docs = append(step.Docs, kernels.Doc{Start: int32(at), End: int32(at + n), Past: int32(q.past), Cache: int32(q.at)})
				step.Texts = append(step.Texts, nn.Text{Tokens: q.ids, At: q.past})
				step.Segments = nn.AddSegment(step.Segments, at, at+n, q.Slot)
				for _, r := range rows {
					step.Rows = append(step.Rows, int32(at+r.place-1-q.past))
				}
				asked = append(asked, rows...)
				q.past += n
			}
		}
	}
	return step, asked
}

// piece is how many tokens of a sequence the next pass reads.
func (b *Batch) piece(q *Sequence) int {
	n := min(len(q.ids)-q.past, b.pass)
	if q.Echo && q.past < len(q.Prompt) {
		n = min(n, b.scored)
	}
	return n
}

// rows are what is asked of a sequence's next n tokens.
func (q *Sequence) rows(n int) (out []row) {
	for place := q.past + 1; place <= q.past+n; place++ {
		if place == len(q.ids) && q.Sampling.MaxNewTokens > 0 || q.Echo && place < len(q.Prompt) {
			out = append(out, row{q, place})
		}
	}
	return out
}

// say is what the logits of the row before place say.
func (q *Sequence) say(logits []float32, place int) (s Said) {
	s.Place = place
	if slices.ContainsFunc(logits, func(v float32) bool { return !(v <= math.MaxFloat32) }) {
		s.Err = fmt.Errorf("the model's logits are not finite")
		return s
	}
	var lse float64
	if q.LogProbs >= 0 {
		lse = logSumExp(logits, q.heat())
		s.Top = top(logits, q.LogProbs)
		for i := range s.Top {
			s.Top[i].LogProb = s.Top[i].LogProb/q.heat() - lse
		}
	}
	if place < len(q.Prompt) {
		s.ID = q.Prompt[place]
		s.LogProb = float64(logits[s.ID])/q.heat() - lse
		return s
	}
	l := logits
	if q.LogProbs >= 0 {
		l = slices.Clone(logits)
	}
	n := place - len(q.Prompt)
	if q.Mask != nil {
		if s.Err = q.Mask(l, q.ids[len(q.Prompt):]); s.Err != nil {
			return s
		}
	}
	q.Sampling.Process(l, Context{Seen: q.ids, Prompt: len(q.Prompt), EOS: q.End})
	if q.Mask != nil && slices.Max(l) == never {
		s.Err = ErrBanned
		return s
	}
	s.ID = pick(&q.Sampling, l, q.key, q.Draw, uint64(n))
	if q.LogProbs >= 0 {
		s.LogProb = float64(logits[s.ID])/q.heat() - lse
	}
	return s
}

// heat is the temperature of the log-probabilities.
func (q *Sequence) heat() float64 {
	if q.Heat > 0 {
		return q.Heat
	}
	return 1
}

// logSumExp is the logarithm of the sum of exp, of logits over a temperature.
func logSumExp(l []float32, heat float64) float64 {
	m := slices.Max(l)
	sum := 0.0
	for _, v := range l {
		sum += math.Exp(float64(v-m) / heat)
	}
	return float64(m)/heat + math.Log(sum)
}

// top are the n tokens of the largest logits, the largest first, of equal ones that of the least id.
func top(l []float32, n int) []TokenProb {
	out := make([]TokenProb, 0, n+1)
	for i, v := range l {
		x := float64(v)
		if len(out) == n && (n == 0 || x <= out[n-1].LogProb) {
			continue
		}
		at := len(out)
		for at > 0 && out[at-1].LogProb < x {
			at--
		}
		out = slices.Insert(out, at, TokenProb{int32(i), x})
		out = out[:min(len(out), n)]
	}
	return out
}
