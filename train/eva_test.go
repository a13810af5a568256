package train

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// TestInitializeAdapter: the folder that the pass over the data writes has the same bytes with any number of threads, and other bytes for
// other data; an adapter that was not initialised is refused where training would begin; a cancelled pass writes nothing.
func TestInitializeAdapter(t *testing.T) {
	m := llama(t)
	args := DefaultArgs()
	args.MaxSteps, args.PerDeviceTrainBatchSize = 3, 4
	fresh := func() *peft.Adapter {
		a, err := peft.New("LORA", map[string]any{"r": 2, "init_lora_weights": "eva", "eva_config": map[string]any{"tau": 0.5}},
			nn.Sites(m), peft.Env{ModelType: "llama"})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	initialise := func(ctx context.Context, threads int, data Data) ([]byte, error) {
		p := pool.New(threads)
		defer p.Close()
		dir := filepath.Join(t.TempDir(), "init")
		if err := InitializeAdapter(ctx, fresh(), m, &args, data, p, dir, nil); err != nil {
			if _, e := os.Stat(dir); e == nil {
				t.Error("a failed initialisation wrote a folder")
			}
			return nil, err
		}
		raw, err := os.ReadFile(peft.TensorPath(dir))
		if err != nil {
			t.Fatal(err)
		}
		return raw, nil
	}
	all := short(24)
	one, err := initialise(context.Background(), 1, Sequences(all))
	if err != nil {
		t.Fatal(err)
	}
	three, err := initialise(context.Background(), 3, Sequences(all))
	if err != nil || !bytes.Equal(one, three) {
		t.Errorf("three threads: other bytes (%v)", err)
	}
	if other, err := initialise(context.Background(), 1, Sequences(all[:13])); err != nil || bytes.Equal(one, other) {
		t.Errorf("other data: the same bytes (%v)", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := initialise(ctx, 1, Sequences(all)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	params := nn.NewParams(1)
	defer params.Free()
	_, err = TrainKeys(args, Setup{Wiring: m, Adapters: []nn.Adapter{fresh()}, Params: params}, []KeyJob{{Key: "k", Data: Sequences(all)}})
	if err == nil || !strings.Contains(err.Error(), "init_adapter") {
		t.Errorf("training by key from no starting values: %v", err)
	}
}
