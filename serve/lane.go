package serve

import (
	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/peft"
)

// lane is a program with the sequences that it continues together: the main one of the base and the adapters in a bank, or that of one
// adapter which cannot share a pass.
type lane struct {
	m     *infer.Model
	batch *evaluate.Batch
	own   bool // m is the lane's to close
}

// newLane compiles the program of a model.
func newLane(m *infer.Model, own bool, size evaluate.BatchSize) (l *lane, err error) {
	defer mem.Catch(&err, "set a lower --max-model-len, --max-num-seqs or --adapter-memory")
	b, err := evaluate.NewBatch(m.Base, m.Adapters, m.Params, m.Pool, m.Base.Config.Vocab, size)
	if err != nil {
		return nil, err
	}
	return &lane{m, b, own}, nil
}

func (l *lane) close() {
	l.batch.Close()
	if l.own {
		_ = l.m.Close()
	}
}

func (l *lane) live() int {
	n, _ := l.batch.Live()
	return n
}

// resident is an adapter that is in memory, or on its way there.
type resident struct {
	edition
	opened  chan struct{} // closed when it was read
	err     error
	adapter *peft.Adapter // as it was read; nil once its values lie in a slot
	model   *infer.Model  // of one that needs a base of its own
	lane    *lane         // nil until it has a place
	slot    int           // in the main lane's bank
	invoked bool          // what it makes of a prompt's beginning depends on what follows
	users   int           // sequences
	used    int64         // the engine's time when it was used last
}

func (r *resident) isOpen() bool {
	select {
	case <-r.opened:
		return true
	default:
		return false
	}
}

// alone says whether the adapter cannot share passes.
func (r *resident) alone() bool { return r.model != nil || !r.adapter.Bankable() }

// sizeOf is the memory of an adapter's values.
func sizeOf(a *peft.Adapter) (n int64) {
	for _, p := range a.Params() {
		n += 4 * int64(p.Size())
	}
	return n
}

// bankFor makes a bank of adapters of these forms, as many slots as fit into so many bytes, and most at most.
func bankFor(forms []*peft.Adapter, bytes int64, most int) (_ *peft.Bank, err error) {
	defer mem.Catch(&err, "set a lower --adapter-memory")
	var each int64
	for _, a := range forms {
		each += sizeOf(a)
	}
	slots := most
	if each > 0 {
		slots = int(min(int64(most), bytes/each))
	}
	if slots < 1 {
		return nil, refuse("the adapter takes %d MiB, more than the memory for adapters holds: the server needs a larger --adapter-memory",
			(each+1<<20-1)>>20)
	}
	b := peft.NewBank(slots)
	for _, a := range forms {
		if err := b.Learn(a); err != nil {
			b.Free()
			return nil, err
		}
	}
	return b, nil
}
