package model_test

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

type meta struct {
	Loss         float64 `json:"loss"`
	LeftpadLoss  float64 `json:"leftpad_loss"`
	GreedyPrompt []int32 `json:"greedy_prompt"`
	GreedyTokens []int32 `json:"greedy_tokens"`
}

func compile(t *testing.T, m *model.Model, mode nn.Mode, s *nn.Step, cache int) *nn.Program {
	t.Helper()
	p, err := nn.Compile(m, nil, nn.NewParams(1), nn.Options{Mode: mode, Cache: cache > 0,
		Caps: nn.Caps{T: len(s.Tokens), S: len(s.Rows), N: len(s.Docs), C: cache}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// TestGoldenModels compares logits, loss and greedy tokens of every model folder with transformers'.
func TestGoldenModels(t *testing.T) {
	root := filepath.Join(golden.Root(t, "testdata"), "models")
	ran := 0
	var out []string
	for _, name := range golden.Dirs(t, root) {
		dir := filepath.Join(root, name)
		arch := golden.JSON[struct{ Architectures []string }](t, filepath.Join(dir, "config.json")).Architectures
		if len(arch) != 1 || !slices.Contains(model.Architectures(), arch[0]) {
			out = append(out, name)
			continue
		}
		ran++
		t.Run(name, func(t *testing.T) { goldenModel(t, dir) })
	}
	t.Logf("golden models: %d cases ran, out of scope: %v", ran, out)
	if ran == 0 {
		t.Error("no case ran")
	}
}

// TestVariants does the same with models whose settings the golden ones leave at their defaults.
func TestVariants(t *testing.T) {
	root := filepath.Join("testdata", "variants")
	for _, name := range golden.Dirs(t, root) {
		t.Run(name, func(t *testing.T) { goldenModel(t, filepath.Join(root, name)) })
	}
}

func goldenModel(t *testing.T, dir string) {
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	in, want := golden.Open(t, filepath.Join(dir, "inputs.safetensors")), golden.Open(t, filepath.Join(dir, "expected.safetensors"))
	info := golden.JSON[meta](t, filepath.Join(dir, "meta.json"))
	v := m.Config.Vocab

	logits := func(name string, b golden.Batch, first int) {
		s, at := nn.FromBatch(b.IDs, b.Mask, nil, b.B, b.T)
		got := compile(t, m, nn.ModeLogits, s, 0).Forward(s, false)
		all := want.F32(name)
		worst := 0.0
		for i, k := range at {
			k -= first * b.T
			if k < 0 || (k+1)*v > len(all) {
				continue
			}
			worst = max(worst, golden.MaxDiff(got[i*v:(i+1)*v], all[k*v:(k+1)*v]))
		}
		if worst > 2e-4 {
			t.Errorf("%s differ by %.2e", name, worst)
		}
	}
	loss := func(name string, b golden.Batch, expect float64) {
		s, _ := nn.FromBatch(b.IDs, b.Mask, b.Labels, b.B, b.T)
		sum := 0.0
		for _, lp := range compile(t, m, nn.ModeScore, s, 0).Forward(s, false) {
			sum -= float64(lp)
		}
		if d := math.Abs(sum/float64(len(s.Rows)) - expect); d > 2e-5 {
			t.Errorf("%s: loss %.6f, want %.6f", name, sum/float64(len(s.Rows)), expect)
		}
	}
	b := in.Batch("")
	logits("logits", b, 0)
	loss("right padded", b, info.Loss)
	left := in.Batch("leftpad_")
	if left.Labels == nil {
		left.Labels = b.Labels
	}
	logits("leftpad_logits", left, 1)

	// The training batches, whose losses are those of the untouched model.
	if in.Has("train_input_ids") {
		shape, losses := in.Shape("train_input_ids"), want.F32("train_losses")
		ids, mask, labels := in.I64("train_input_ids"), in.I64("train_attention_mask"), in.I64("train_labels")
		n := shape[1] * shape[2]
		for i, l := range losses {
			b := golden.Batch{IDs: ids[i*n : (i+1)*n], Mask: mask[i*n : (i+1)*n], Labels: labels[i*n : (i+1)*n], B: shape[1], T: shape[2]}
			loss(fmt.Sprintf("training batch %d", i), b, float64(l))
		}
	}

	// Greedy decoding with the KV cache.
	n := len(info.GreedyPrompt)
	step := &nn.Step{Tokens: info.GreedyPrompt, Rows: []int32{int32(n - 1)}, Docs: []kernels.Doc{{End: int32(n)}}}
	for i := range n {
		step.Positions = append(step.Positions, int32(i))
	}
	p := compile(t, m, nn.ModeLogits, step, n+len(info.GreedyTokens))
	var got []int32
	for past := n; ; past++ {
		l := p.Forward(step, false)
		best := 0
		for i, x := range l {
			if x > l[best] {
				best = i
			}
		}
		got = append(got, int32(best))
		if len(got) == len(info.GreedyTokens) {
			break
		}
		step = &nn.Step{Tokens: []int32{int32(best)}, Positions: []int32{int32(past)}, Rows: []int32{0},
			Docs: []kernels.Doc{{End: 1, Past: int32(past)}}}
	}
	if !slices.Equal(got, info.GreedyTokens) {
		t.Errorf("greedy tokens %v, want %v", got, info.GreedyTokens)
	}
}
