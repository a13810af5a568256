package serve

import (
	"fmt"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/nn"
)

// Plan is the memory of a [Live] engine, in bytes, as it is known before the first request.
type Plan struct {
	Base     int64 // the weights
	Adapters int64 // at most
	Cache    int64 // the KV cache
	Work     int64 // of a pass
	Heap     int64 // texts, tokenizers, requests
	Size     evaluate.BatchSize
	Alone    evaluate.BatchSize // for an adapter that shares no pass
}

// Total is the sum.
func (p Plan) Total() int64 { return p.Base + p.Adapters + p.Cache + p.Work + p.Heap }

// String says what is planned.
func (p Plan) String() string {
	return fmt.Sprintf("%d MiB: base %d, adapters up to %d, KV cache %d (%d sequences of %d tokens, %d in all), a pass %d, texts %d",
		p.Total()>>20, p.Base>>20, p.Adapters>>20, p.Cache>>20, p.Size.Sequences, p.Size.Context, p.Size.Rows, p.Work>>20, p.Heap>>20)
}

const (
	heapBytes   = 160 << 20
	mostContext = 8192
	freeCache   = 1 << 30 // of the KV cache where no limit is given
)

// planFor finds the largest KV cache that the limit holds, for all sequences at their longest at most, and, where it holds not one sequence
// with so many others, fewer of them.
func planFor(o *Options, m *infer.Model) (Plan, error) {
	context := min(m.Positions(), mostContext)
	if o.Context > 0 {
		if o.Context > m.Positions() {
			return Plan{}, fmt.Errorf("--max-model-len is %d, but the model has %d positions", o.Context, m.Positions())
		}
		context = o.Context
	}
	p := Plan{Base: mem.Held() - bankBytes(m), Adapters: o.AdapterMemory, Heap: heapBytes}
	for n := o.Sequences; n >= 1; n = n / 2 {
		for rows := n * context; ; rows = max(context, rows/2) {
			p.Size = evaluate.BatchSize{Context: context, Sequences: n, Rows: rows, Cache: o.CacheDType}
			p.Alone = evaluate.BatchSize{Context: context, Sequences: min(n, 2), Rows: min(rows, 2*context), Cache: o.CacheDType}
			main, err := needs(m, p.Size)
			if err != nil {
				return p, err
			}
			alone, err := needs(m, p.Alone)
			if err != nil {
				return p, err
			}
			p.Cache, p.Work = main.State+alone.State, main.Total()+alone.Total()-main.State-alone.State
			if o.MemoryLimit > 0 && p.Total() <= o.MemoryLimit || o.MemoryLimit == 0 && (p.Cache <= freeCache || rows == context) {
				return p, nil
			}
			if rows == context {
				break
			}
		}
	}
	return p, fmt.Errorf("the memory limit of %d MiB is too low: %s is the least; set a lower --max-model-len or --adapter-memory, "+
		"or a storage such as --dtype bfloat16", o.MemoryLimit>>20, p)
}

// bankBytes is the memory that is laid out for the adapters of a model.
func bankBytes(m *infer.Model) (n int64) {
	for _, p := range m.Params.List() {
		n += 4 * int64(len(p.Data))
	}
	return n
}

// needs is the memory of a program, without the adapters' values.
func needs(m *infer.Model, size evaluate.BatchSize) (nn.Memory, error) {
	got, err := evaluate.PlanBatch(m.Base, m.Adapters, m.Params, m.Pool, m.Base.Config.Vocab, size)
	got.Params = 0
	return got, err
}
