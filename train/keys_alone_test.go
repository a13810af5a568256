package train

import (
	"errors"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// lostData is read once, and is gone then.
type lostData struct {
	Sequences
	left int
}

var errLost = errors.New("the shard is gone")

func (d *lostData) Sequence(i int) (datasets.Sequence, error) {
	if d.left--; d.left < 0 {
		return datasets.Sequence{}, errLost
	}
	return d.Sequences.Sequence(i)
}

// TestAKeyByItselfFailsAlone: what cannot be read of a key whose method cannot share a pass over the base fails that key, not the run.
func TestAKeyByItselfFailsAlone(t *testing.T) {
	m := llama(t)
	a, err := peft.New("ADALORA", map[string]any{"target_modules": []string{"q_proj"}, "total_step": 3}, nn.Sites(m),
		peft.Env{ModelType: "llama", Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	args := DefaultArgs()
	args.MaxSteps, args.PerDeviceTrainBatchSize = 3, 1
	params := nn.NewParams(1)
	defer params.Free()
	runs, err := TrainKeys(args, Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params},
		[]KeyJob{{Key: "a", Data: &lostData{keyed(0, 3), 4}}}) // all are counted, and a step is made
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(runs[0].Err, errLost) || runs[0].Steps != 1 {
		t.Errorf("%+v", runs[0])
	}
}
