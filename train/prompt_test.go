package train

import (
	"math"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// short are sequences of twelve tokens in four documents; the labels of every other document are masked.
func short(n int) []datasets.Sequence {
	var out []datasets.Sequence
	for i := range n {
		var q datasets.Sequence
		for d := range 4 {
			q.DocStarts, q.DocIDs = append(q.DocStarts, int32(3*d)), append(q.DocIDs, string(rune('a'+d)))
			q.DocSpans, q.Sources = append(q.DocSpans, [2]int32{int32(3 * i), int32(3*i + 3)}), append(q.Sources, "")
			for t := range 3 {
				id := int32(20 + (i*37+d*13+t*11)%200)
				label := id
				if t == 0 || d%2 == 1 {
					label = datasets.NoLoss
				}
				q.InputIDs, q.Labels = append(q.InputIDs, id), append(q.Labels, label)
			}
		}
		out = append(out, q)
	}
	return out
}

// TestPromptMethodsOnShortDocuments: a batch of more documents than the program has virtual rows for is run in parts, whose loss and
// gradients are those of the whole at once; the virtual rows do not multiply the memory.
func TestPromptMethodsOnShortDocuments(t *testing.T) {
	m := llama(t)
	data := short(6)
	plain := int64(0)
	for _, c := range []struct {
		method string
		config map[string]any
		labels int // of a document's virtual tokens
	}{
		{"LN_TUNING", map[string]any{"target_modules": []string{"input_layernorm"}}, 0},
		{"PROMPT_TUNING", map[string]any{"num_virtual_tokens": 4}, 0},
		{"MULTITASK_PROMPT_TUNING", map[string]any{"num_virtual_tokens": 4}, 0},
		{"P_TUNING", map[string]any{"num_virtual_tokens": 4, "encoder_hidden_size": 16}, 0},
		{"PREFIX_TUNING", map[string]any{"num_virtual_tokens": 4}, 0},
		{"CPT", map[string]any{"cpt_token_ids": []int{5, 6, 7, 8, 9}, "cpt_mask": []int{1, 1, 1, 1, 1},
			"cpt_tokens_type_mask":   []int{1, 2, 4, 4, 2},
			"opt_weighted_loss_type": "decay", "opt_loss_decay_factor": 0.5}, 2},
	} {
		t.Run(c.method, func(t *testing.T) {
			open := func() (nn.Adapter, *nn.Params) {
				a, err := peft.New(c.method, c.config, nn.Sites(m), peft.Env{ModelType: "llama", Seed: 1})
				if err != nil {
					t.Fatal(err)
				}
				return a, nn.NewParams(1)
			}
			a, params := open()
			defer params.Free()
			args := DefaultArgs()
			args.MaxSteps, args.PerDeviceTrainBatchSize, args.Stride, args.WeightDecay = 2, 3, 1, 0
			tr, err := NewTrainer(args, Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, SequenceLength: 12,
				Sequences: len(data)})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			sum, items, tokens, err := tr.Gradients(Sequences(data), 0)
			if err != nil {
				t.Fatal(err)
			}
			if want := 3*4 + 12*c.labels; items != want || tokens != 36 {
				t.Errorf("%d labels, %d tokens; want %d, 36", items, tokens, want)
			}

			whole, err := StepFrom(data[:3])
			if err != nil {
				t.Fatal(err)
			}
			b, all := open()
			defer all.Free()
			p, err := nn.Compile(m, []nn.Adapter{b}, all,
				nn.Options{Mode: nn.ModeTrain, Caps: nn.Caps{T: 36, S: 36, N: 12}, Seed: args.Seed})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			all.ZeroGrad()
			logp := p.Forward(whole, true)
			coef := make([]float32, len(logp))
			want := NLL(logp, len(logp), coef)
			p.Backward(coef)
			if math.Abs(sum-want) > 1e-4 {
				t.Errorf("the loss is %g, at once %g", sum, want)
			}
			list := all.List()
			for i, q := range params.List() {
				for j, g := range q.Grad {
					if d := math.Abs(float64(g - list[i].Grad[j])); d > 1e-5 {
						t.Fatalf("%s: gradient %d is %g, at once %g", q.Name, j, g, list[i].Grad[j])
					}
				}
			}
			arena := tr.Memory().Arena
			if plain == 0 {
				plain = arena
			} else if float64(arena) > 1.7*float64(plain) {
				t.Errorf("%d bytes of activations, %d without virtual tokens", arena, plain)
			}

			sc, err := NewScorer(m, []nn.Adapter{a}, params, nil, 24)
			if err != nil {
				t.Fatal(err)
			}
			defer sc.Close()
			nll, n, err := sc.NLL(data[:3])
			if err != nil {
				t.Fatal(err)
			}
			text := 0.0
			for _, l := range logp[:len(whole.Rows)] {
				text -= float64(l)
			}
			if n != 12 || c.method != "P_TUNING" && math.Abs(nll-text) > 1e-4 {
				t.Errorf("scored %g over %d labels, want %g over 12", nll, n, text)
			}
		})
	}
}

// TestSeveralTasksAreRefused: sequences do not say a document's task.
func TestSeveralTasksAreRefused(t *testing.T) {
	m := llama(t)
	a, err := peft.New("MULTITASK_PROMPT_TUNING", map[string]any{"num_virtual_tokens": 2, "num_tasks": 3}, nn.Sites(m),
		peft.Env{ModelType: "llama", Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	params := nn.NewParams(1)
	defer params.Free()
	args := DefaultArgs()
	args.MaxSteps = 1
	_, err = NewTrainer(args, Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, SequenceLength: 12, Sequences: 6})
	if err == nil || !strings.Contains(err.Error(), "num_tasks") {
		t.Errorf("the error is %v", err)
	}
}
