package train

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// TestGoldenLoraFA repeats ten steps of PEFT's LoRA-FA over a whole trainer: losses, gradient norms (which leave out the frozen factors),
// and where the parameters end. The data has pairs of several ranks and scales, the head among them, and modules_to_save, which are in no
// pair.
func TestGoldenLoraFA(t *testing.T) {
	base := filepath.Join(golden.Root(t, "../model/testdata"), "models", "llama_gqa")
	m, err := model.Load(base)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	data, batch, length := trainingRows(golden.Open(t, filepath.Join(base, "inputs.safetensors")))
	cases := golden.Dirs(t, filepath.Join("testdata", "lorafa"))
	for _, c := range cases {
		t.Run(c, func(t *testing.T) {
			dir := filepath.Join("testdata", "lorafa", c)
			meta, a, args := openGolden(t, m, dir, batch)
			args.Optim = "lorafa"
			want := golden.Open(t, filepath.Join(dir, "expected.safetensors"))
			params := nn.NewParams(1)
			defer params.Free()
			tr, err := NewTrainer(args, Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, SequenceLength: length,
				Sequences: len(data)})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if err := a.Load(params); err != nil {
				t.Fatal(err)
			}
			first := map[string][]float32{}
			for _, q := range params.List() {
				if q.Frozen {
					if !strings.Contains(q.Name, "lora_A") || q.Grad != nil {
						t.Errorf("%s is frozen, with a gradient of %d values", q.Name, len(q.Grad))
					}
					first[q.Name] = append([]float32(nil), q.Data...)
				}
			}
			if got, want := len(first), len(a.Targets()); got != want {
				t.Errorf("%d frozen factors, want %d", got, want)
			}
			finals, trained := meta.Trajectory.follow(t, tr, data, want), 0
			for _, q := range params.List() {
				if !q.Frozen {
					trained += q.Size()
				} else if golden.MaxDiff(q.Data, first[q.Name]) != 0 {
					t.Errorf("%s has moved", q.Name)
				}
			}
			if finals != trained || params.Count() != trained {
				t.Errorf("%d values are trained, counted as %d, and PEFT's are %d", trained, params.Count(), finals)
			}
			if n, err := TrainedCount(&args, a); err != nil || n != trained {
				t.Errorf("TrainedCount is %d (%v), want %d", n, err, trained)
			}
			if b := tr.OptimizerBytes(); b > int64(8*trained+len(params.List())*128) {
				t.Errorf("the optimiser keeps %d bytes for %d values", b, trained)
			}
		})
	}
	t.Logf("golden LoRA-FA: %d cases ran, none out of scope", len(cases))
}

// TestLoraFARefuses: what LoRA-FA cannot train is an error that says what to change.
func TestLoraFARefuses(t *testing.T) {
	m := llama(t)
	args := DefaultArgs()
	args.Optim, args.MaxSteps = "lorafa", 1
	for _, c := range []struct {
		method string
		config map[string]any
		want   string
	}{
		{"IA3", nil, "IA3 has none"},
		{"LORA", map[string]any{"use_dora": true}, "leave use_dora out"},
		{"LORA", map[string]any{"target_modules": []string{"embed_tokens", "q_proj"}}, "embed_tokens is an embedding"},
	} {
		a, err := peft.New(c.method, c.config, nn.Sites(m), peft.Env{ModelType: "llama"})
		if err != nil {
			t.Fatal(err)
		}
		if err := Trainable(&args, a); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: %v, want %q", c.method, c.config, err, c.want)
		}
	}
	args.LoraPlusLRRatio = 16
	if err := args.Validate(); err == nil || !strings.Contains(err.Error(), "loraplus_lr_ratio") {
		t.Errorf("LoRA+ with LoRA-FA: %v", err)
	}
}

// TestGramInverse: of dependent rows it is the pseudo-inverse, as torch.linalg.pinv's.
func TestGramInverse(t *testing.T) {
	got := gramInverse([]float32{1, 2, 2, 2, 4, 4}, 2, 3) // A·Aᵀ = 9·[1 2; 2 4], pinv = [1 2; 2 4]/(9·25)
	for i, w := range []float32{1, 2, 2, 4} {
		if d := math.Abs(float64(got[i] - w/225)); d > 1e-7 {
			t.Errorf("element %d is %g, want %g", i, got[i], w/225)
		}
	}
}
