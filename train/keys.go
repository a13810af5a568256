package train

import (
	"errors"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// KeyJob is the training of one key's adapter: its sequences, and the adapter it starts from (nil for the method's starting values).
type KeyJob struct {
	Key  string
	Data Data
	Init *peft.Adapter // opened from a folder
	// Tokens is the most tokens of a pass, [KeyTokens]; 0 to count them.
	Tokens int
}

// KeyRun is what training a key gave. Err is set where the key's own training failed, such as by a loss that is not finite; the
// other keys of its group are not affected.
type KeyRun struct {
	Key    string
	Steps  int
	Tokens int64     // input tokens of all steps
	Loss   []float64 // of each step
	Err    error
}

// Groupable says whether several keys' adapters of a method can share each pass over the base. A method that cannot trains key by key.
func Groupable(a *peft.Adapter) bool {
	_, stepper := a.Method.(peft.Stepper)
	_, own := a.Method.(peft.Regulariser)
	_, prompter := a.Method.(peft.Prompter)
	return a.Segmentable() && !stepper && !own && !prompter
}

// KeyTokens is the most tokens that one pass takes of a key: those of its longest sequences, as many as a micro-batch has.
func KeyTokens(args *Args, data Data) (int, error) {
	n, _, err := keyTokens(args, data)
	return n, err
}

// keyTokens is KeyTokens with the tokens of the longest sequence.
func keyTokens(args *Args, data Data) (n, longest int, err error) {
	var lengths []int
	for i := range data.Len() {
		q, err := data.Sequence(i)
		if err != nil {
			return 0, 0, err
		}
		if lengths = append(lengths, len(q.InputIDs)); len(lengths) >= 2*args.PerDeviceTrainBatchSize {
			slices.SortFunc(lengths, func(a, b int) int { return b - a })
			lengths = lengths[:args.PerDeviceTrainBatchSize]
		}
	}
	slices.SortFunc(lengths, func(a, b int) int { return b - a })
	most := args.PerDeviceTrainBatchSize
	if !args.wraps() {
		most = min(most, len(lengths))
	}
	for i := range most {
		n += lengths[min(i, len(lengths)-1)] // where batches wrap, a key of few sequences repeats them
	}
	return n, lengths[0], nil
}

// TrainKeys trains one adapter a key, all of them together: each pass over the frozen base takes a micro-batch of every key, whose rows use
// that key's slot of the banks (nn.Segment). s.Params has a slot a key, and afterwards the trained values; s.Adapters is the one adapter.
// Everything else is each key's own, as when it is trained alone: order, number of steps, schedule, count of supervised tokens, clipping,
// optimiser. So the values of a slot do not depend on the other keys. s.SequenceLength and s.Sequences are not read.
//
// The adapter must be [Groupable]; with one key it need only fit a Trainer.
func TrainKeys(args Args, s Setup, jobs []KeyJob) ([]KeyRun, error) {
	if err := args.Validate(); err != nil {
		return nil, err
	}
	a, ok := s.Adapters[0].(*peft.Adapter)
	switch {
	case len(s.Adapters) != 1 || !ok || s.Params.Slots() != len(jobs) || len(jobs) == 0:
		panic("train: TrainKeys wants one adapter, and parameters with a slot a key")
	case args.Replicas != 1:
		return nil, errors.New("train: keys are trained by one replica each: set replicas to 1")
	case !Groupable(a) && len(jobs) > 1:
		return nil, fmt.Errorf("train: %s adapters cannot share a pass over the base: train them key by key", a.Type())
	}
	if err := initialised(a); err != nil {
		return nil, err
	}
	var lanes []*lane
	tokens, longest := 0, 0
	for i := range jobs {
		n := jobs[i].Data.Len()
		if err := args.batches(n); err != nil {
			return nil, fmt.Errorf("key %q: %w", jobs[i].Key, err)
		}
		most := jobs[i].Tokens
		if most == 0 || !Groupable(a) {
			var err error
			if most, longest, err = keyTokens(&args, jobs[i].Data); err != nil {
				return nil, err
			}
		}
		tokens += most
		lanes = append(lanes, newLane(&args, i, n, jobs[i].Key))
	}
	if !Groupable(a) {
		tokens = longest * args.PerDeviceTrainBatchSize // so that virtual tokens cut batches as those of a [Trainer]
	}
	l, err := newLoop(&args, &s, tokens, lanes)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	runs := make([]KeyRun, len(jobs))
	for i := range jobs {
		runs[i].Key = jobs[i].Key
		if err := startKey(a, s.Params, i, jobs[i].Init); err != nil {
			return nil, fmt.Errorf("key %q: %w", jobs[i].Key, err)
		}
	}
	for step := range slices.MaxFunc(lanes, func(a, b *lane) int { return a.total - b.total }).total {
		if s.Interrupted != nil && s.Interrupted() {
			return nil, ErrInterrupted
		}
		if err := l.keys(step, jobs, runs); err != nil {
			if Groupable(a) {
				return nil, err
			}
			runs[0].Err = err // the one key of this call: others, which train by themselves, go on
			break
		}
	}
	return runs, nil
}

// keys runs the optimiser step (counted from 0) of every key that has not reached its end or failed.
func (l *loop) keys(step int, jobs []KeyJob, runs []KeyRun) error {
	defer computing()()
	var shares []*share
	for i, ln := range l.lanes {
		if step >= ln.total || runs[i].Err != nil {
			continue
		}
		sh, err := l.take(ln, jobs[i].Data, step, 0)
		if err != nil {
			return fmt.Errorf("key %q: %w", ln.name, err)
		}
		if sh.items == 0 {
			if runs[i].Err = l.silent(step, sh); runs[i].Err != nil {
				continue
			}
		}
		shares = append(shares, sh)
	}
	if err := l.backward(step, shares, func() bool { return false }); err != nil {
		return err
	}
	l.update(step, shares)
	for _, sh := range shares {
		run := &runs[sh.slot]
		if run.Err = sh.err; sh.err == nil {
			run.Steps, run.Tokens, run.Loss = step+1, run.Tokens+int64(sh.tokens), append(run.Loss, sh.info.Loss)
		}
	}
	return nil
}

// startKey gives a slot its starting values.
func startKey(a *peft.Adapter, params *nn.Params, slot int, from *peft.Adapter) error {
	if from == nil {
		return a.Initial(params, slot)
	}
	return a.HotSwap(params, slot, from)
}
