package run

import (
	"fmt"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// fitsMachine refuses batches that this machine cannot hold whatever is computed again: of a pass each token has its embedding and that
// one's gradient at the least. What it lets pass the plan still judges, by memory_limit, and the system.
func (r *Run) fitsMachine() error {
	have := mem.Machine()
	if have == 0 || r.model == nil {
		return nil
	}
	length, width := int64(r.Recipe.Prepare.SequenceLength), int64(r.model.Config.Hidden)
	for _, b := range []struct {
		key string
		n   int
		of  int64 // values of a token
	}{
		{"train.per_device_train_batch_size", r.Recipe.Train.PerDeviceTrainBatchSize, 2 * width},
		{"evaluate.batch_size", r.Recipe.Evaluate.BatchSize, width},
	} {
		tokens := int64(b.n) * length // at most 2^44, with a width of at most 2^28
		if need := float64(tokens) * float64(b.of) * 4; need > float64(have) {
			return fmt.Errorf("%s is %d: a pass of so many sequences of %d tokens takes more than %s, and this machine has %s: lower it "+
				"or sequence_length",
				b.key, b.n, length, storage.Size(int64(min(need, 1<<62))), storage.Size(have))
		}
	}
	return nil
}
