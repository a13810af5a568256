package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/usage"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// DecodeConfig says what `adaptflow bench decode` measures: texts that are continued side by side, over random weights.
type DecodeConfig struct {
	ConfigPath   string // config.json of the shape, for random weights; or a model folder
	DType        string // fp32, bf16 or auto, also with +nf4 and the like
	Streams      int    // texts at a time
	PromptTokens int    // of each
	Tokens       int    // added to each
	Rank         int    // of a LoRA adapter on all linear layers; 0 for none
	Threads      int    // 0: all
	Runs         int    // of which the median counts
}

// DecodeResult is what was measured, over all streams together.
type DecodeResult struct {
	TokensPerSecond    float64   `json:"tokens_per_second"`     // of the median run, from each text's second new token on
	TokensPerCPUSecond float64   `json:"tokens_per_cpu_second"` // the same by processor time, which other programs change less
	PromptPerSecond    float64   `json:"prompt_tokens_per_second"`
	StepSeconds        []float64 `json:"step_seconds"` // medians of the runs
	// Read is how fast the weights that a step reads were read, Bandwidth how fast the machine reads memory beyond its caches.
	WeightBytes   int64   `json:"weight_bytes"`
	ReadBytes     float64 `json:"read_bytes_per_second"`
	Bandwidth     float64 `json:"bandwidth_bytes_per_second"`
	PeakRSS       int64   `json:"peak_rss_bytes"`
	DType         string  `json:"dtype"`
	KernelSet     string  `json:"kernel_set"`
	Threads       int     `json:"threads"`
	Streams       int     `json:"streams"`
	AdapterValues int     `json:"adapter_parameters,omitempty"`
}

// Decode continues random texts greedily and measures each step.
func Decode(c DecodeConfig) (*DecodeResult, error) {
	dtype, err := benchDType(c.DType)
	if err != nil {
		return nil, err
	}
	m, err := benchModel(c.ConfigPath, dtype)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	params := nn.NewParams(1)
	defer params.Free()
	var adapters []nn.Adapter
	if c.Rank > 0 {
		a, err := peft.New("lora", map[string]any{"r": c.Rank, "target_modules": "all-linear"}, nn.Sites(m),
			peft.Env{ModelType: m.Config.ModelType})
		if err != nil {
			return nil, err
		}
		adapters = append(adapters, a)
	}
	p := pool.New(c.Threads)
	defer p.Close()
	if c.Tokens < 2 {
		return nil, errors.New("a step is measured from one new token to the next: ask for 2 at least")
	}
	context := c.PromptTokens + c.Tokens
	if context > m.Config.MaxPositions {
		return nil, fmt.Errorf("a prompt of %d tokens with %d more: the model has %d positions", c.PromptTokens, c.Tokens,
			m.Config.MaxPositions)
	}
	g, err := evaluate.NewGenerator(m, adapters, params, p, m.Config.Vocab, context, c.Streams)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	key := philox.NewKey(2, "bench", "prompts")
	prompts := make([][]int32, c.Streams)
	for i := range prompts {
		for k := range c.PromptTokens {
			prompts[i] = append(prompts[i], int32(key.At(uint64(i), uint64(k))[0]%uint32(m.Config.Vocab)))
		}
	}
	r := &DecodeResult{DType: dtype, KernelSet: kernels.Active().String(), Threads: p.Threads(), Streams: c.Streams,
		AdapterValues: params.Count(), WeightBytes: m.Bytes()}
	if !m.Config.Tied { // of the embeddings a step reads a few rows
		size := int64(4)
		if strings.HasPrefix(dtype, "bfloat16") {
			size = 2
		}
		r.WeightBytes -= size * int64(m.Config.Vocab) * int64(m.Config.Hidden)
	}
	var first, cpu []float64
	for range c.Runs + 1 { // the first warms up
		var times []time.Duration
		start, busy := time.Now(), time.Duration(0)
		_, err := g.GenerateAll(prompts, evaluate.Sampling{MaxNewTokens: c.Tokens}, nil, func(prompt int, _ int32, _ bool) (bool, error) {
			if prompt == c.Streams-1 {
				if times = append(times, time.Since(start)); len(times) == 1 {
					busy = usage.CPU()
				}
			}
			return true, nil
		})
		if err != nil {
			return nil, err
		}
		steps := make([]float64, len(times)-1)
		for i := range steps {
			steps[i] = (times[i+1] - times[i]).Seconds()
		}
		slices.Sort(steps)
		cpu = append(cpu, (usage.CPU()-busy).Seconds()/float64(len(steps)))
		first = append(first, times[0].Seconds())
		r.StepSeconds = append(r.StepSeconds, steps[len(steps)/2])
	}
	r.StepSeconds = r.StepSeconds[1:]
	step := median(r.StepSeconds)
	r.TokensPerSecond, r.PromptPerSecond = float64(c.Streams)/step, float64(c.Streams*c.PromptTokens)/median(first[1:])
	r.TokensPerCPUSecond = float64(c.Streams) / median(cpu[1:])
	r.ReadBytes = float64(r.WeightBytes) / step
	if r.PeakRSS, err = mem.Peak(); err != nil {
		return nil, err
	}
	r.Bandwidth = bandwidth(p)
	return r, nil
}

// bandwidth is how many bytes a second are read of a block that no cache holds.
func bandwidth(p *pool.Pool) float64 {
	b := mem.Alloc(5 << 28)
	defer b.Free()
	x := b.Bytes()
	for i := 0; i < len(x); i += 512 {
		x[i] = byte(i >> 9) // a page that nothing was written to is the system's page of zeros
	}
	best := 0.0
	for range 5 {
		start := time.Now()
		kernels.ReadAll(p, x)
		best = max(best, float64(len(x))/time.Since(start).Seconds())
	}
	return best
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return s[len(s)/2]
}
