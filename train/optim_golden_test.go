package train

import (
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/nn"
)

// goldenOptim is how a class of the reference is called here, and which of its settings are adaptflow's arguments rather than optim_args.
var goldenOptim = map[string]string{"torch.AdamW": "adamw_torch", "torch.Adam": "adam", "torch.SGD": "sgd", "torch.Adagrad": "adagrad",
	"torch.RMSprop":          "rmsprop",
	"transformers.Adafactor": "adafactor", "bitsandbytes.AdamW32bit": "adamw_torch", "bitsandbytes.AdamW8bit": "adamw_8bit",
	"bitsandbytes.Lion32bit": "lion_32bit",
	"bitsandbytes.Lion8bit":  "lion_8bit", "bitsandbytes.SGD8bit": "sgd_8bit",
}

func goldenArgs(t *testing.T, spec map[string]any) (Args, bool) {
	a := DefaultArgs()
	a.DecayAll, a.LearningRate = true, 0
	var ok bool
	if a.Optim, ok = goldenOptim[spec["cls"].(string)]; !ok {
		return a, false
	}
	var opts []string
	for k, v := range spec {
		switch k {
		case "cls", "state_keys":
		case "lr":
			a.LearningRate = v.(float64)
		case "weight_decay":
			a.WeightDecay = v.(float64)
		case "betas":
			a.AdamBeta1, a.AdamBeta2 = v.([]any)[0].(float64), v.([]any)[1].(float64)
		case "eps":
			if strings.Contains(a.Optim, "adam") {
				a.AdamEpsilon = v.(float64)
				break
			}
			opts = append(opts, "eps="+text(v))
		default:
			opts = append(opts, k+"="+text(v))
		}
	}
	a.OptimArgs = strings.Join(opts, ",")
	if err := a.Validate(); err != nil {
		t.Fatal(err)
	}
	return a, true
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// TestGoldenOptim repeats the steps of torch's, transformers' and bitsandbytes' optimisers, given the gradients. Half way the state is read
// out and put into a new optimiser, which must go on with the same bits.
func TestGoldenOptim(t *testing.T) {
	dir := filepath.Join(golden.Root(t, "testdata"), "optim")
	spec := golden.JSON[struct {
		Steps      int
		Optimisers map[string]map[string]any
	}](t, filepath.Join(dir, "optimisers.json"))
	in := golden.Open(t, filepath.Join(dir, "inputs.safetensors"))
	ran, out := 0, []string{}
	for name, s := range spec.Optimisers {
		a, ok := goldenArgs(t, s)
		if !ok {
			out = append(out, name)
			continue
		}
		ran++
		t.Run(name, func(t *testing.T) {
			want := golden.Open(t, filepath.Join(dir, name+".safetensors"))
			params := nn.NewParams(1)
			defer params.Free()
			makeParams(params, wiring(func(bl *nn.Builder) {
				for i := 0; in.Has("p0." + string(rune('0'+i))); i++ {
					key := "p0." + string(rune('0'+i))
					sh := in.Shape(key)
					if len(sh) == 1 {
						sh = []int{1, sh[0]}
					}
					bl.Param("w."+key, sh[0], sh[1], func(d []float32) { copy(d, in.F32(key)) })
				}
			}))
			opt := NewOptimizer(&a, params, nil)
			defer func() { opt.Close() }()
			tol := 1e-5
			if strings.Contains(name, "8") {
				tol = 1e-4
			}
			for step := range spec.Steps {
				for i, q := range params.List() {
					q.Grad = make([]float32, len(q.Data))
					copy(q.Grad, in.F32("grad." + string(rune('0'+i)))[step*len(q.Data):])
				}
				if step == spec.Steps/2 {
					saved := map[string][]float32{}
					opt.Each(func(n string, x []float32) { saved[n] = slices.Clone(x) })
					fresh := NewOptimizer(&a, params, nil)
					fresh.Step = opt.Step
					fresh.Each(func(n string, x []float32) {
						if len(saved[n]) != len(x) {
							t.Fatalf("state %s has %d values, saved %d", n, len(x), len(saved[n]))
						}
						copy(x, saved[n])
						delete(saved, n)
					})
					if len(saved) > 0 {
						t.Fatalf("states without a place: %d", len(saved))
					}
					opt.Close()
					opt = fresh
				}
				opt.Apply(nil, a.LearningRate)
				for i, q := range params.List() {
					w := want.F32("p." + string(rune('0'+i)))[step*len(q.Data):][:len(q.Data)]
					if d := golden.MaxDiff(q.Data, w); !(d <= tol) {
						t.Fatalf("step %d, parameter %d: off by %g", step, i, d)
					}
				}
			}
			if strings.HasSuffix(a.Optim, "8bit") { // what is kept is small
				if all := 4 * params.Count(); opt.Bytes() > int64(all) {
					t.Errorf("the state of %d values takes %d bytes", params.Count(), opt.Bytes())
				}
			}
		})
	}
	slices.Sort(out)
	t.Logf("optimisers: %d cases ran, out of scope: %v", ran, out)
}

type wiring func(b *nn.Builder)

func (w wiring) Wire(b *nn.Builder) { w(b) }

// makeParams makes the parameters that a wiring names, by a program that is never run.
func makeParams(params *nn.Params, w nn.Wiring) {
	p, err := nn.Compile(wiring(func(b *nn.Builder) {
		w.Wire(b)
		b.Finish(b.Apply(&nn.PositionEmbedding{P: 1, D: 1, W: []float32{0}}))
	}), nil, params, nn.Options{Mode: nn.ModeScore, Caps: nn.Caps{T: 1, S: 1, N: 1}})
	if err != nil {
		panic(err)
	}
	p.Close()
}

// TestGoldenSchedules compares every learning rate with transformers' get_scheduler, past the end too.
func TestGoldenSchedules(t *testing.T) {
	path := filepath.Join(golden.Root(t, "testdata"), "optim", "schedules.json")
	g := golden.JSON[struct {
		BaseLR float64 `json:"base_lr"`
		Total  int     `json:"num_training_steps"`
		Values map[string][]float64
	}](t, path)
	ran, out := 0, []string{}
	for key, want := range g.Values {
		parts := strings.SplitN(key, "|", 3)
		if scheduleByName(parts[0]) == nil {
			out = append(out, key)
			continue
		}
		ran++
		a := DefaultArgs()
		a.LRSchedulerType, a.LearningRate = parts[0], g.BaseLR
		if err := json.Unmarshal([]byte(strings.TrimPrefix(parts[1], "warmup=")), &a.WarmupSteps); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(parts[2]), &a.LRSchedulerKwargs); err != nil {
			t.Fatal(err)
		}
		if err := a.Validate(); err != nil {
			t.Fatal(err)
		}
		for step, w := range want {
			if got := a.LearningRateAt(step, g.Total); math.Abs(got-w) > 1e-12 {
				t.Errorf("%s: step %d has %.12g, want %.12g", key, step, got, w)
			}
		}
	}
	t.Logf("schedules: %d cases ran, out of scope: %v", ran, out)
}

// TestGoldenClip compares with torch's clip_grad_norm_.
func TestGoldenClip(t *testing.T) {
	dir := filepath.Join(golden.Root(t, "testdata"), "optim")
	f := golden.Open(t, filepath.Join(dir, "clip_grad_norm.safetensors"))
	in := golden.Open(t, filepath.Join(dir, "inputs.safetensors"))
	params := nn.NewParams(1)
	defer params.Free()
	makeParams(params, wiring(func(b *nn.Builder) {
		for i := 0; in.Has("grad." + string(rune('0'+i))); i++ {
			n := 1
			for _, d := range in.Shape("grad." + string(rune('0'+i)))[1:] {
				n *= d
			}
			b.Param(string(rune('0'+i)), 1, n, nil)
		}
	}))
	for i, q := range params.List() {
		q.Grad = slices.Clone(in.F32("grad." + string(rune('0'+i)))[:len(q.Data)])
	}
	norm, err := ClipGradNorm(params, 1)
	if err != nil {
		t.Fatal(err)
	}
	if want := float64(f.F32("total_norm")[0]); math.Abs(norm-want) > 1e-5*want {
		t.Errorf("norm %g, want %g", norm, want)
	}
	for i, q := range params.List() {
		if d := golden.MaxDiff(q.Grad, f.F32("clipped."+string(rune('0'+i)))); !(d <= 1e-6) {
			t.Errorf("gradient %d off by %g", i, d)
		}
	}
}
