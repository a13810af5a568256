package evaluate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// contractCases are models, storages and adapters that the contract of bits is held to as a whole; every kernel set runs each.
var contractCases = []struct {
	model, storage, method string
	options                map[string]any
	cache                  nn.DType
}{
	{"llama_gqa", "float32", "", nil, nn.Float32},
	{"llama_gqa", "float32", "", nil, nn.BFloat16},
	{"llama_gqa", "bfloat16", "lora", map[string]any{"r": 5, "init_lora_weights": false}, nn.BFloat16},
	{"llama_gqa", "float32+nf4", "lora", map[string]any{"r": 8, "init_lora_weights": false}, nn.Float32},
	{"llama_gqa", "bfloat16+fp4_dq", "", nil, nn.Float32},
	{"llama_gqa", "bfloat16+int8", "", nil, nn.Float32},
	{"llama_tied", "float32+int8", "prefix_tuning", map[string]any{"num_virtual_tokens": 5}, nn.BFloat16},
	{"llama3_rope", "float32", "prompt_tuning", map[string]any{"num_virtual_tokens": 3}, nn.Float32},
	{"gpt2", "float32", "ia3", nil, nn.Float32},
	{"llama_tied", "float32", "lora", map[string]any{"alora_invocation_tokens": []any{7, 8, 9}, "init_lora_weights": false}, nn.Float32},
	{"gptneox", "bfloat16", "", nil, nn.BFloat16},
	{"qwen2", "bfloat16+nf4_dq", "", nil, nn.Float32},
	{"gemma2", "float32", "", nil, nn.BFloat16},
	{"gemma3_text", "bfloat16", "", nil, nn.Float32},
}

// TestContractOfBits reads texts at once and then in random pieces beside each other, with a cache, on one thread and on two: every logit
// has the same bits. Read at once they have no cache where sums by document, which a program without one has, are those by position.
func TestContractOfBits(t *testing.T) {
	two := pool.New(2)
	defer two.Close()
	for set := kernels.Plain; set.String() != "unknown" && kernels.Supported(set); set++ {
		for at, c := range contractCases {
			t.Run(fmt.Sprintf("%v/%s/%s/%s/%v", set, c.model, c.storage, c.method, c.cache), func(t *testing.T) {
				t.Cleanup(kernels.SetActive(set))
				m, err := model.LoadAs(filepath.Join("..", "model", "testdata", "models", c.model), c.storage)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				var adapters []nn.Adapter
				if c.method != "" {
					a, err := peft.New(c.method, c.options, nn.Sites(m), peft.Env{ModelType: m.Config.ModelType, Tied: m.Config.Tied})
					if err != nil {
						t.Fatal(err)
					}
					adapters = append(adapters, a)
				}
				params := nn.NewParams(1)
				defer params.Free()
				b := &contract{m: m, adapters: adapters, params: params, cache: c.cache}
				b.hold(t, rand.New(rand.NewPCG(20, uint64(at))), two)
			})
		}
	}
}

type contract struct {
	m        *model.Model
	adapters []nn.Adapter
	params   *nn.Params
	cache    nn.DType
}

// contractRoom is how many rows of the cache a text has.
const contractRoom = 2 * kernels.CacheUnit

func (b *contract) program(t *testing.T, tokens, docs int, cache bool, p *pool.Pool) *nn.Program {
	t.Helper()
	prog, err := nn.Compile(b.m, b.adapters, b.params, nn.Options{Mode: nn.ModeLogits, Pool: p, Cache: cache, CacheDType: b.cache,
		Caps: nn.Caps{T: tokens, S: tokens, N: docs, C: contractRoom * docs}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(prog.Close)
	return prog
}

func (b *contract) hold(t *testing.T, r *rand.Rand, two *pool.Pool) {
	const texts = 3
	limit := min(b.m.Config.MaxPositions-8, 110)
	var tokens [texts][]int32
	var want [texts][]float32
	v := b.m.Config.Vocab
	for i := range tokens {
		for range []int{3, limit, 1 + r.IntN(limit)}[i] {
			tokens[i] = append(tokens[i], int32(r.IntN(v)))
		}
		if len(tokens[i]) > 20 { // what an activated LoRA begins at
			copy(tokens[i][11:], []int32{7, 8, 9})
		}
		n := len(tokens[i])
		cached := b.cache != nn.Float32 || kernels.Active() == kernels.Plain || n <= 4 // see kernels.Attn.ByDocument
		p := b.program(t, n, 1, cached, nil)
		s := &nn.Step{}
		piece(s, tokens[i], 0, n, 0)
		want[i] = slices.Clone(p.Forward(s, false))
	}
	for _, threads := range []*pool.Pool{nil, two} {
		p := b.program(t, texts*limit, texts, true, threads)
		var at [texts]int
		for left := texts; left > 0; {
			s := &nn.Step{}
			var who []int
			for _, i := range r.Perm(texts) {
				n := min([]int{1, 1, 3, 5, 17, 64}[r.IntN(6)], len(tokens[i])-at[i])
				if n == 0 {
					continue
				}
				piece(s, tokens[i], at[i], at[i]+n, int32(i*contractRoom))
				who = append(who, i)
			}
			got := p.Forward(s, false)
			for j, i := range who {
				for row := s.Docs[j].Start; row < s.Docs[j].End; row++ {
					for k, x := range got[int(row)*v : int(row+1)*v] {
						if w := want[i][at[i]*v+k]; math.Float32bits(x) != math.Float32bits(w) {
							t.Fatalf("token %d of text %d of %d tokens, on %d threads, rows %d to %d of a pass: logit %d is %v, at once %v",
								at[i], i, len(tokens[i]), threads.Threads(), s.Docs[j].Start, s.Docs[j].End, k, x, w)
						}
					}
					at[i]++
				}
				if at[i] == len(tokens[i]) {
					left--
				}
			}
		}
	}
}

// piece adds the tokens [from, to) of a text to a step, which asks for the logits of all.
func piece(s *nn.Step, text []int32, from, to int, cache int32) {
	start := int32(len(s.Tokens))
	for i := from; i < to; i++ {
		s.Rows = append(s.Rows, int32(len(s.Tokens)))
		s.Tokens, s.Positions = append(s.Tokens, text[i]), append(s.Positions, int32(i))
	}
	s.Docs = append(s.Docs, kernels.Doc{Start: start, End: int32(len(s.Tokens)), Past: int32(from), Cache: cache})
	s.Texts = append(s.Texts, nn.Text{Tokens: text, At: from})
}
