package train_test

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/train"
)

// referenceRun is one HF PEFT run of a reference_runs.json.
type referenceRun struct {
	Seq         int                `json:"seq"`
	Batch       int                `json:"batch"`
	Steps       int                `json:"steps"`
	Warmup      int                `json:"warmup"`
	LR          float64            `json:"lr"`
	WeightDecay float64            `json:"weight_decay"`
	Stride      int                `json:"stride"`
	EvalBlocks  int                `json:"eval_blocks"`
	Method      string             `json:"method"`
	TrainFile   string             `json:"train_file"`
	EvalFiles   map[string]string  `json:"eval_files"`
	TrainBlocks int                `json:"train_blocks"`
	Model       string             `json:"model"`
	Format      string             `json:"format"`
	MaxLen      int                `json:"max_len"` // of an example, with Format
	EvalLines   map[string]int     `json:"eval_lines"`
	Before      map[string]float64 `json:"eval_nll_before"`
	After       map[string]float64 `json:"eval_nll_after"`
	Curve       [][2]float64       `json:"loss_and_grad_norm"`
}

// blocks tokenizes a JSONL file as the recipe says: bos and the text of each line, one after another, cut into blocks.
func blocks(t *testing.T, tk tokenize.Tokenizer, bos int32, path string, length int) train.Sequences {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var ids []int32
	s := bufio.NewScanner(f)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		var row struct{ Text string }
		if err := json.Unmarshal(s.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		if ids, err = tk.AppendIDs(append(ids, bos), row.Text, false); err != nil {
			t.Fatal(err)
		}
	}
	var out train.Sequences
	for ; len(ids) >= length; ids = ids[length:] {
		q := datasets.Sequence{InputIDs: ids[:length], Labels: slices.Clone(ids[:length]), DocStarts: []int32{0}}
		q.Labels[0] = datasets.NoLoss
		out = append(out, q)
	}
	return out
}

// examples makes a sequence of each line of a JSONL file of questions and answers, with a loss on the answer and the end alone; an example
// whose answer lies beyond length is left out. limit is the most lines, 0 for all.
func examples(t *testing.T, tk tokenize.Tokenizer, bos, eos int32, path string, length, limit int) train.Sequences {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out train.Sequences
	s := bufio.NewScanner(f)
	s.Buffer(nil, 64<<20)
	for n := 0; s.Scan() && (limit == 0 || n < limit); n++ {
		var row struct{ Question, Answer string }
		if err := json.Unmarshal(s.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		ids, err := tk.AppendIDs([]int32{bos}, "Question: "+row.Question+"\nAnswer: ", false)
		if err != nil {
			t.Fatal(err)
		}
		prompt := len(ids)
		if ids, err = tk.AppendIDs(ids, row.Answer, false); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, eos)
		if prompt >= length {
			continue
		}
		q := datasets.Sequence{InputIDs: ids[:min(len(ids), length)], DocStarts: []int32{0}}
		for i, id := range q.InputIDs {
			if i < prompt {
				id = datasets.NoLoss
			}
			q.Labels = append(q.Labels, id)
		}
		out = append(out, q)
	}
	return out
}

// TestReferenceRuns repeats the LoRA, full, IA3, prompt and prefix tuning runs of the folder that ADAPTFLOW_REFERENCE names, from their
// stored first values: each of the first 20 losses within 1e-4 of HF PEFT's, the final evaluations within 0.005 nats.
func TestReferenceRuns(t *testing.T) {
	dir := os.Getenv("ADAPTFLOW_REFERENCE")
	if dir == "" {
		t.Skip("ADAPTFLOW_REFERENCE names no folder with a reference_runs.json")
	}
	dir = golden.Resolve(t, dir)
	doc := golden.JSON[struct{ Runs map[string]referenceRun }](t, filepath.Join(dir, "reference_runs.json"))
	var out []string
	ran := 0
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for n := range doc.Runs {
			if !yield(n) {
				return
			}
		}
	}) {
		r := doc.Runs[name]
		if r.Method == "qlora" {
			ran++
			t.Run(name, func(t *testing.T) { repeat(t, dir, name, r, "float32+nf4") })
			continue
		}
		if !slices.Contains([]string{"lora", "full", "ia3", "prompt_tuning", "prefix_tuning"}, r.Method) {
			out = append(out, name)
			continue
		}
		ran++
		t.Run(name, func(t *testing.T) { repeat(t, dir, name, r, "float32") })
		if name == "lora_man_en" {
			ran++
			t.Run(name+" in bfloat16", func(t *testing.T) { repeat(t, dir, name, r, "bfloat16") })
		}
	}
	t.Logf("reference runs of %s: %d cases ran, out of scope: %v", filepath.Base(dir), ran, out)
}

// first is the folder of a run's first values. A run over a quantised base starts from those of the same run over the plain one.
func first(dir, name string) string {
	return filepath.Join(dir, "reference", strings.Replace(name, "qlora_nf4_", "lora_", 1), "init")
}

// repeat trains a stored run again. In float32 the first losses and the final scores are PEFT's; in bfloat16 the final scores are near.
func repeat(t *testing.T, dir, name string, r referenceRun, dtype string) {
	lossTolerance, nllTolerance := 1e-4, 0.005
	if dtype == "bfloat16" {
		lossTolerance, nllTolerance = 0.02, 0.01
	}

	base := filepath.Join(dir, r.Model)
	m, err := train.Base(base, dtype)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	tk, err := tokenize.Load(base)
	if err != nil {
		t.Fatal(err)
	}
	init := first(dir, name)
	if r.Method == "full" { // starts at the base
		init = ""
	}
	a, err := train.OpenAdapter(m, init, r.Method, nil, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	var data train.Sequences
	if r.Format != "" {
		r.Seq = r.MaxLen
		data = examples(t, tk, m.Config.BOS, m.Config.EOS[0], filepath.Join(dir, r.TrainFile), r.MaxLen, 0)
	} else {
		data = blocks(t, tk, m.Config.BOS, filepath.Join(dir, r.TrainFile), r.Seq)
	}
	if r.TrainBlocks > 0 && len(data) != r.TrainBlocks {
		t.Fatalf("%d training blocks, the reference has %d", len(data), r.TrainBlocks)
	}
	evals := map[string]train.Sequences{}
	for what, file := range r.EvalFiles {
		if n := r.EvalLines[what]; n > 0 {
			evals[what] = examples(t, tk, m.Config.BOS, m.Config.EOS[0], filepath.Join(dir, file), r.MaxLen, n)
			continue
		}
		b := blocks(t, tk, m.Config.BOS, filepath.Join(dir, file), r.Seq)
		evals[what] = b[:min(r.EvalBlocks, len(b))]
	}
	p := pool.New(0)
	defer p.Close()
	params := nn.NewParams(1)
	defer params.Free()
	args := train.DefaultArgs()
	args.LearningRate, args.WeightDecay, args.MaxSteps, args.WarmupSteps, args.PerDeviceTrainBatchSize, args.Stride = r.LR, r.WeightDecay,
		r.Steps, r.Warmup, r.Batch, r.Stride
	tr, err := train.NewTrainer(args, train.Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, Pool: p, SequenceLength: r.Seq,
		Sequences: len(data), DType: train.Values(dtype),
		Schedule: func(s, n int) float64 {
			return r.LR * min(1, float64(s+1)/float64(r.Warmup)) * (1 - float64(s)/float64(n))
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	sc, err := train.NewScorer(m, []nn.Adapter{a}, params, p, r.Seq*r.Batch)
	if err != nil {
		t.Fatal(err)
	}
	defer sc.Close()
	plain, err := train.NewScorer(m, nil, nn.NewParams(1), p, r.Seq*r.Batch)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	score := func(when string, want map[string]float64) {
		for what, seqs := range evals {
			scorer := sc
			if when == "before" && nn.PromptOf([]nn.Adapter{a}).Positions() > 0 { // the reference is the base's own
				scorer = plain
			}
			sum, n, err := scorer.NLL(seqs)
			if err != nil {
				t.Fatal(err)
			}
			if d := math.Abs(sum/float64(n) - want[what]); !(d <= nllTolerance) {
				t.Errorf("%s NLL %s: %.5f, want %.5f", what, when, sum/float64(n), want[what])
			} else {
				t.Logf("%s NLL %s: %.5f (PEFT %.5f)", what, when, sum/float64(n), want[what])
			}
		}
	}
	score("before", r.Before)
	worst := 0.0
	for i := range r.Steps {
		info, err := tr.Step(data, 0)
		if err != nil {
			t.Fatal(err)
		}
		d := math.Abs(info.Loss - r.Curve[i][0])
		if i < 20 {
			worst = max(worst, d)
			if !(d <= lossTolerance) {
				t.Fatalf("loss at step %d: %.6f, want %.6f (norm %.6f, want %.6f)", i, info.Loss, r.Curve[i][0],
					info.GradNorm, r.Curve[i][1])
			}
		}
	}
	t.Logf("largest difference of the first 20 losses: %.1e", worst)
	score("after", r.After)
}
