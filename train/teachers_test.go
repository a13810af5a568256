package train

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

func tiny(name string) string { return filepath.Join("..", "model", "testdata", "models", name) }

// TestTeach compares the targets of a step that a teacher takes in several parts with the softmax of the teachers' logits over the whole
// step, and a document's own.
func TestTeach(t *testing.T) {
	student := held(t, tiny("llama_gqa"), model.Task{})
	p := pool.New(2)
	defer p.Close()
	step, err := StepFrom(short(120)) // 1440 tokens
	if err != nil {
		t.Fatal(err)
	}
	const alpha = 0.75
	dirs := []string{tiny("llama_tied"), tiny("qwen2")}
	teachers, err := OpenTeachers(student, dirs, alpha, "float32", p, len(step.Tokens), 12)
	if err != nil {
		t.Fatal(err)
	}
	defer teachers.Close()
	if got, least := teachers.WorkBytes(), int64(len(step.Tokens)*student.Config.Vocab*4); got < least {
		t.Errorf("%d bytes, the targets alone are %d", got, least)
	}
	if got := teachers.WeightBytes(student); got == 0 || got != teachers.WeightBytes(nil) {
		t.Errorf("%d bytes of weights, none of them the student's", got)
	}
	if err := teachers.Teach(step); err != nil {
		t.Fatal(err)
	}
	v := student.Config.Vocab
	want := make([]float64, len(step.Rows)*v)
	for _, dir := range dirs {
		m := held(t, dir, model.Task{})
		n := len(step.Tokens)
		prog, err := nn.Compile(m, nil, nn.NewParams(1), nn.Options{Mode: nn.ModeLogits, Caps: nn.Caps{T: n, S: n, N: n}})
		if err != nil {
			t.Fatal(err)
		}
		logits := prog.Forward(&nn.Step{Tokens: step.Tokens, Positions: step.Positions, Docs: step.Docs, Rows: step.Rows}, false)
		for i := range step.Rows {
			sum := 0.0
			for _, l := range logits[i*v : (i+1)*v] {
				sum += math.Exp(float64(l))
			}
			for j, l := range logits[i*v : (i+1)*v] {
				want[i*v+j] += alpha / 2 * math.Exp(float64(l)) / sum
			}
		}
		prog.Close()
	}
	for i, l := range step.Labels {
		want[i*v+int(l)] += 1 - alpha
	}
	for i, w := range want {
		if got := float64(step.Targets[i]); math.Abs(got-w) > 1e-6 {
			t.Fatalf("row %d, token %d: %g, want %g", i/v, i%v, got, w)
		}
	}
}

// TestGoldenDistillation repeats ten steps of TRL's loss, of one teacher and of the mean of two beside the labels.
func TestGoldenDistillation(t *testing.T) {
	m := held(t, tiny("llama_gqa"), model.Task{})
	data, batch, length := trainingRows(golden.Open(t, filepath.Join(tiny("llama_gqa"), "inputs.safetensors")))
	for _, c := range golden.Dirs(t, filepath.Join("testdata", "distillation")) {
		t.Run(c, func(t *testing.T) {
			dir := filepath.Join("testdata", "distillation", c)
			meta, a, args := openGolden(t, m, dir, batch)
			params := nn.NewParams(1)
			defer params.Free()
			for i, name := range meta.Teachers {
				meta.Teachers[i] = tiny(name)
			}
			teachers, err := OpenTeachers(m, meta.Teachers, meta.Alpha, "float32", nil, batch*length, length)
			if err != nil {
				t.Fatal(err)
			}
			defer teachers.Close()
			tr, err := NewTrainer(args, Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, SequenceLength: length,
				Sequences: len(data), Objective: &Distil{teachers}})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if err := a.Load(params); err != nil {
				t.Fatal(err)
			}
			if n := meta.Trajectory.follow(t, tr, data, golden.Open(t, filepath.Join(dir, "expected.safetensors"))); n != params.Count() {
				t.Errorf("%d values compared, %d trained", n, params.Count())
			}
		})
	}
}

// TestDistillation trains a student towards another model: a student that is its own teacher has no gradient, another comes nearer to its
// teacher at each step, with a prompt before the text, too.
func TestDistillation(t *testing.T) {
	data := short(6)
	for _, c := range []struct {
		teacher, method string
		config          map[string]any
	}{
		{"llama_gqa", "LORA", map[string]any{"target_modules": "all-linear"}},
		{"llama_tied", "LORA", map[string]any{"target_modules": "all-linear"}},
		{"llama_tied", "FULL", nil},
		{"llama_tied", "PROMPT_TUNING", map[string]any{"num_virtual_tokens": 4}},
	} {
		t.Run(c.teacher+" "+c.method, func(t *testing.T) {
			m := held(t, tiny("llama_gqa"), model.Task{})
			a, err := peft.New(c.method, c.config, nn.Sites(m), peft.Env{ModelType: "llama", Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			params := nn.NewParams(1)
			defer params.Free()
			args := DefaultArgs()
			args.MaxSteps, args.PerDeviceTrainBatchSize, args.Stride, args.LearningRate, args.WeightDecay = 12, 6, 1, 1e-2, 0
			teachers, err := OpenTeachers(m, []string{tiny(c.teacher)}, 1, "float32", nil, 72, 12)
			if err != nil {
				t.Fatal(err)
			}
			defer teachers.Close()
			tr, err := NewTrainer(args, Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, SequenceLength: 12,
				Sequences: len(data), Objective: &Distil{teachers}})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if err := a.Initial(params, 0); err != nil {
				t.Fatal(err)
			}
			first, err := tr.Step(Sequences(data), 0)
			if err != nil {
				t.Fatal(err)
			}
			if c.teacher == "llama_gqa" {
				if first.GradNorm > 1e-4 {
					t.Errorf("the gradient's norm is %g where student and teacher are one", first.GradNorm)
				}
				return
			}
			last := first
			for tr.Done() < tr.Total {
				if last, err = tr.Step(Sequences(data), 0); err != nil {
					t.Fatal(err)
				}
			}
			if !(last.Loss < first.Loss) || first.GradNorm == 0 {
				t.Errorf("cross entropy with the teacher %g, then %g; first gradient %g", first.Loss, last.Loss, first.GradNorm)
			}
		})
	}
}

// TestTeachersThatDoNotFit names the teacher and what is wrong.
func TestTeachersThatDoNotFit(t *testing.T) {
	m := held(t, tiny("llama_gqa"), model.Task{})
	classifier := t.TempDir()
	if err := os.CopyFS(classifier, os.DirFS(tiny("llama_gqa"))); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(classifier, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(classifier, "config.json"),
		bytes.ReplaceAll(config, []byte("ForCausalLM"), []byte("ForSequenceClassification")), 0o644); err != nil {
		t.Fatal(err)
	}
	student := held(t, tiny("llama_gqa"), model.Task{Type: "SEQ_CLS", NumLabels: 2})
	for _, c := range []struct {
		student *model.Model
		dir     string
		length  int
		want    string
	}{
		{m, tiny("gpt2"), m.Config.MaxPositions * 100, "positions"},
		{m, tiny("none"), 12, "none"},
		{student, tiny("gpt2"), 12, "learns from no teachers"},
		{m, classifier, 12, "classifier"},
	} {
		if _, err := OpenTeachers(c.student, []string{c.dir}, 1, "float32", nil, c.length, c.length); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to say %q", c.dir, err, c.want)
		}
	}
}

// TestTeacherOfAPaddedVocabulary: rows that pad a teacher's vocabulary, or that it lacks beside the student's, take no part.
func TestTeacherOfAPaddedVocabulary(t *testing.T) {
	student := held(t, tiny("llama_gqa"), model.Task{})
	src, err := safetensors.OpenDir(tiny("llama_tied"))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	config, err := os.ReadFile(filepath.Join(tiny("llama_tied"), "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	target := func(dir string) []float32 {
		teachers, err := OpenTeachers(student, []string{dir}, 1, "float32", nil, 24, 12)
		if err != nil {
			t.Fatal(err)
		}
		defer teachers.Close()
		step, err := StepFrom(short(2))
		if err != nil {
			t.Fatal(err)
		}
		if err := teachers.Teach(step); err != nil {
			t.Fatal(err)
		}
		return slices.Clone(step.Targets)
	}
	resized := func(vocab int) string {
		dir := t.TempDir()
		var tensors []safetensors.Tensor
		for _, n := range src.Names() {
			x, err := src.Float32(n)
			if err != nil {
				t.Fatal(err)
			}
			info, _ := src.Info(n)
			shape := slices.Clone(info.Shape)
			if n == "model.embed_tokens.weight" {
				shape[0] = vocab
				for len(x) < vocab*shape[1] {
					x = append(x, 9)
				}
				x = x[:vocab*shape[1]]
			}
			tensors = append(tensors, safetensors.F32(n, x, shape...))
		}
		if err := safetensors.Write(filepath.Join(dir, "model.safetensors"), tensors, nil); err != nil {
			t.Fatal(err)
		}
		text := bytes.Replace(config, []byte(`"vocab_size": 320`), fmt.Appendf(nil, `"vocab_size": %d`, vocab), 1)
		if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	if want, got := target(tiny("llama_tied")), target(resized(336)); !slices.Equal(got, want) {
		t.Error("padding changes what the teacher says")
	}
	for i, q := range target(resized(312)) {
		if i%320 >= 312 && q != 0 {
			t.Fatalf("token %d, which the teacher lacks, has %g", i%320, q)
		}
	}
}

// TestTeachersOfParts: a batch that runs in parts, before whose documents virtual tokens stand, learns next to nothing else from a teacher
// of next to no weight.
func TestTeachersOfParts(t *testing.T) {
	m := held(t, tiny("llama_gqa"), model.Task{})
	data := Sequences(short(6))
	var infos []StepInfo
	for _, taught := range []bool{false, true} {
		a, err := peft.New("CPT", map[string]any{"cpt_token_ids": []int{5, 6, 7, 8, 9}, "cpt_mask": []int{1, 1, 1, 1, 1},
			"cpt_tokens_type_mask":   []int{1, 2, 4, 4, 2},
			"opt_weighted_loss_type": "decay", "opt_loss_decay_factor": 0.5}, nn.Sites(m), peft.Env{ModelType: "llama", Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		params := nn.NewParams(1)
		defer params.Free()
		args := DefaultArgs()
		args.MaxSteps, args.PerDeviceTrainBatchSize, args.Stride, args.GradientAccumulationSteps = 2, 3, 1, 2
		s := Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, SequenceLength: 12, Sequences: len(data)}
		if taught {
			teachers, err := OpenTeachers(m, []string{tiny("qwen2")}, 1e-7, "float32", nil, 36, 12)
			if err != nil {
				t.Fatal(err)
			}
			defer teachers.Close()
			s.Objective = &Distil{teachers}
		}
		tr, err := NewTrainer(args, s)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if err := a.Initial(params, 0); err != nil {
			t.Fatal(err)
		}
		info, err := tr.Step(data, 0)
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, info)
	}
	if a, b := infos[0], infos[1]; math.Abs(a.Loss-b.Loss) > 1e-5 || math.Abs(a.GradNorm-b.GradNorm) > 1e-5*a.GradNorm {
		t.Errorf("loss %g and gradient %g, with the teacher %g and %g", a.Loss, a.GradNorm, b.Loss, b.GradNorm)
	}
}
