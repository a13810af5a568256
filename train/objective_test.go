package train

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// objectiveCase is testdata/objectives/NAME.json: settings and rows of the objective of that name, over the tiny model llama_gqa.
type objectiveCase struct {
	Settings map[string]any `json:"settings"`
	Task     model.Task     `json:"task"`
	Teachers []string       `json:"teachers"`
	// Detached says that the loss has factors without a gradient, so that its coefficients are not its derivatives.
	Detached bool `json:"detached"`
	// PerBatch are metrics that are means of the micro-batches' own, such as of their tokens.
	PerBatch []string `json:"per_batch"`
	Rows     []struct {
		Documents [][]int32 `json:"documents"`
		// Prompt is how many tokens of each document have no loss, 1 where absent; Classes are documents' classes, in place of tokens to
		// predict.
		Prompt  []int                `json:"prompt"`
		Classes []int32              `json:"classes"`
		Values  map[string][]float32 `json:"values"`
	} `json:"rows"`
}

// sequences are the rows.
func (c *objectiveCase) sequences() (out Sequences) {
	for n, r := range c.Rows {
		q := datasets.Sequence{Values: r.Values}
		for d, ids := range r.Documents {
			q.DocStarts, q.DocIDs = append(q.DocStarts, int32(len(q.InputIDs))), append(q.DocIDs, fmt.Sprint(n, "/", d))
			q.DocSpans, q.Sources = append(q.DocSpans, [2]int32{0, 1}), append(q.Sources, "")
			prompt := 1
			if r.Prompt != nil {
				prompt = r.Prompt[d]
			}
			for t, id := range ids {
				label := id
				switch {
				case r.Classes != nil && t == len(ids)-1:
					label = r.Classes[d]
				case r.Classes != nil || t < prompt:
					label = datasets.NoLoss
				}
				q.InputIDs, q.Labels = append(q.InputIDs, id), append(q.Labels, label)
			}
		}
		out = append(out, q)
	}
	return out
}

// objectiveRun is a training of a case.
type objectiveRun struct {
	objective Objective
	model     *model.Model
	adapter   *peft.Adapter
	args      Args
	data      Sequences
	longest   int
	detached  bool
	perBatch  []string
}

func openObjectiveCase(t *testing.T, name string) *objectiveRun {
	t.Helper()
	c := golden.JSON[objectiveCase](t, filepath.Join("testdata", "objectives", name+".json"))
	r := &objectiveRun{args: DefaultArgs(), data: c.sequences(), detached: c.Detached, perBatch: c.PerBatch}
	for _, q := range r.data {
		r.longest = max(r.longest, len(q.InputIDs))
	}
	r.args.LearningRate, r.args.WeightDecay, r.args.MaxSteps, r.args.PerDeviceTrainBatchSize, r.args.Stride = 1e-2, 0, 10, len(r.data), 1
	j := &Job{Args: r.args, NamedObjective: NamedObjective{name, c.Settings}, Start: Start{DistillationAlpha: 0.5},
		DType: "float32", SequenceLength: r.longest}
	for _, x := range c.Teachers {
		j.Teachers = append(j.Teachers, tiny(x))
	}
	var err error
	r.model = held(t, tiny("llama_gqa"), c.Task)
	config := map[string]any{"r": 4, "target_modules": "all-linear"}
	if o, err := NewObjective(name, c.Settings); err == nil && o.Spec().NoDropout {
		config["lora_dropout"] = 0.5
	}
	if c.Task.Type != "" {
		config["task_type"] = c.Task.Type
	}
	if r.adapter, err = peft.New("LORA", config, nn.Sites(r.model), peft.Env{ModelType: "llama", Seed: 1}); err != nil {
		t.Fatal(err)
	}
	if r.objective, err = j.OpenObjective(r.model, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { CloseObjective(r.objective) })
	return r
}

// setup is for a training on n sequences.
func (r *objectiveRun) setup(params *nn.Params, n int) Setup {
	return Setup{Wiring: r.model, Adapters: []nn.Adapter{r.adapter}, Params: params, SequenceLength: r.longest, Sequences: n,
		Objective: r.objective}
}

// TestObjectives holds every row of the table, with its case, to what an objective promises.
func TestObjectives(t *testing.T) {
	for _, row := range Objectives {
		t.Run(row.Name, func(t *testing.T) {
			if row.Doc == "" {
				t.Error("the row has no Doc")
			}
			t.Run("coefficients", func(t *testing.T) { coefficients(t, openObjectiveCase(t, row.Name)) })
			t.Run("training", func(t *testing.T) { objectiveTrains(t, openObjectiveCase(t, row.Name)) })
			t.Run("micro-batches", func(t *testing.T) { objectiveAccumulates(t, openObjectiveCase(t, row.Name)) })
			t.Run("evaluation", func(t *testing.T) { objectiveEvaluates(t, openObjectiveCase(t, row.Name)) })
			t.Run("keys", func(t *testing.T) { objectiveByKey(t, openObjectiveCase(t, row.Name)) })
		})
	}
}

// coefficients compares them with differences of the loss, at random log-probabilities.
func coefficients(t *testing.T, r *objectiveRun) {
	g := newGoal(r.objective)
	b, err := g.batch(r.data)
	if err != nil {
		t.Fatal(err)
	}
	n := len(b.Step.Rows)
	random := func(name string, mean, std float64) []float32 {
		x := make([]float32, n)
		philox.NewKey(3, "objective", name).FillNormal(x, mean, std)
		return x
	}
	b.LogP, b.Reference = random("logp", -2, 0.4), random("reference", -2, 0.4)
	b.Step.Stats = &nn.RowStats{Entropy: random("entropy", 2, 0.3), MeanLogit: random("logits", 0, 1), Squares: random("squares", -1, 0.3),
		Top: make([]float32, n)}
	const items = 7
	coef := make([]float32, n)
	r.objective.Loss(b, items, coef)
	if slices.Max(coef) == 0 && slices.Min(coef) == 0 {
		t.Fatal("all coefficients are 0")
	}
	if r.detached {
		return
	}
	scratch := make([]float32, n)
	for i, was := range b.LogP {
		at := func(d float32) float64 {
			clear(scratch)
			b.LogP[i] = was + d
			return r.objective.Loss(b, items, scratch) / items
		}
		const h = 1.0 / 64
		if want := (at(h) - at(-h)) / (2 * h); math.Abs(want-float64(coef[i])) > 1e-3*math.Max(0.05, math.Abs(want)) {
			t.Errorf("token %d: coefficient %g, by differences %g", i, coef[i], want)
		}
		b.LogP[i] = was
	}
}

// train takes steps on data and returns what each of them was.
func (r *objectiveRun) train(t *testing.T, params *nn.Params, data Sequences, steps int) (infos []StepInfo) {
	t.Helper()
	tr, err := NewTrainer(r.args, r.setup(params, len(data)))
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := r.adapter.Initial(params, 0); err != nil {
		t.Fatal(err)
	}
	for range steps {
		info, err := tr.Step(data, 0)
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, info)
	}
	return infos
}

// objectiveTrains lowers the loss, and reports the metrics that the Spec names.
func objectiveTrains(t *testing.T, r *objectiveRun) {
	params := nn.NewParams(1)
	defer params.Free()
	infos := r.train(t, params, r.data, r.args.MaxSteps)
	first, last := infos[0], infos[len(infos)-1]
	if !(last.Loss < first.Loss) || first.GradNorm == 0 {
		t.Errorf("the loss goes from %g to %g, the first gradient is %g", first.Loss, last.Loss, first.GradNorm)
	}
	for _, name := range r.objective.Spec().Metrics {
		if _, ok := first.Metrics[name]; !ok {
			t.Errorf("no metric %s in %v", name, first.Metrics)
		}
	}
}

// objectiveAccumulates: a batch in one pass and in several has one loss and one gradient, unless the loss is over the batch as a whole.
func objectiveAccumulates(t *testing.T, r *objectiveRun) {
	if r.objective.Spec().Whole {
		return
	}
	whole, parts := nn.NewParams(1), nn.NewParams(1)
	defer whole.Free()
	defer parts.Free()
	want := r.train(t, whole, r.data, 2)
	r.args.PerDeviceTrainBatchSize, r.args.GradientAccumulationSteps = 1, len(r.data)
	got := r.train(t, parts, r.data, 2)
	for i := range want {
		a, b := want[i], got[i]
		if math.Abs(a.Loss-b.Loss) > 1e-5*max(1, math.Abs(a.Loss)) || math.Abs(a.GradNorm-b.GradNorm) > 1e-3*a.GradNorm {
			t.Errorf("step %d: loss %g and gradient %g at once, %g and %g in parts", i+1, a.Loss, a.GradNorm, b.Loss, b.GradNorm)
		}
		for name, x := range a.Metrics {
			if math.Abs(x-b.Metrics[name]) > 1e-4*max(1, math.Abs(x)) && !slices.Contains(r.perBatch, name) {
				t.Errorf("step %d: %s is %g at once, %g in parts", i+1, name, x, b.Metrics[name])
			}
		}
	}
}

// objectiveEvaluates: a validation after some steps has the loss and metrics of the next step, which a Spec without dropout trains without
// it; distillation evaluates by the labels.
func objectiveEvaluates(t *testing.T, r *objectiveRun) {
	params := nn.NewParams(1)
	defer params.Free()
	first := r.train(t, params, r.data, 5)[4]
	r.train(t, params, r.data, 4)
	tokens := 2 * r.longest
	if r.objective.Spec().Whole {
		tokens = len(r.data) * r.longest
	}
	s, err := newScorer(r.model, []nn.Adapter{r.adapter}, params, nil, tokens, newGoal(r.objective))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.loss(r.data, 0)
	if err != nil {
		t.Fatal(err)
	}
	loss := got.loss / float64(got.items)
	if _, ok := r.objective.(*Distil); ok {
		nll, err := NewScorer(r.model, []nn.Adapter{r.adapter}, params, nil, 2*r.longest)
		if err != nil {
			t.Fatal(err)
		}
		defer nll.Close()
		sum, n, err := nll.NLL(r.data)
		if err != nil || sum/float64(n) != loss {
			t.Errorf("evaluated as %g, by labels %g (%v)", loss, sum/float64(n), err)
		}
		return
	}
	if math.Abs(loss-first.Loss) > 1e-5*max(1, math.Abs(loss)) {
		t.Errorf("the loss is %g in evaluation and %g in training", loss, first.Loss)
	}
	for name, x := range s.goal.means(got.metrics) {
		if math.Abs(x-first.Metrics[name]) > 1e-4*max(1, math.Abs(x)) && !slices.Contains(r.perBatch, name) {
			t.Errorf("%s is %g in evaluation and %g in training", name, x, first.Metrics[name])
		}
	}
}

// objectiveByKey: keys that share passes, where the adapter and the objective let them, end with the bytes of each alone.
func objectiveByKey(t *testing.T, r *objectiveRun) {
	n := max(1, len(r.data)/2)
	jobs := []KeyJob{{Key: "a", Data: r.data[:n]}, {Key: "b", Data: r.data[n:]}, {Key: "c", Data: r.data}}
	r.args.PerDeviceTrainBatchSize, r.args.MaxSteps = 2, 4
	params := nn.NewParams(len(jobs))
	defer params.Free()
	runs, err := TrainKeys(r.args, r.setup(params, 0), jobs)
	want := ""
	if r.objective.Spec().Alone {
		want = "one adapter at a time"
	} else if !Groupable(r.adapter) {
		want = "key by key"
	}
	if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Fatalf("%v, want it to say %q", err, want)
	}
	for i, j := range jobs {
		if want != "" {
			continue
		}
		if runs[i].Err != nil {
			t.Fatal(runs[i].Err)
		}
		alone := nn.NewParams(1)
		defer alone.Free()
		infos := r.train(t, alone, j.Data.(Sequences), 4)
		for k, info := range infos {
			if info.Loss != runs[i].Loss[k] {
				t.Errorf("key %s, step %d: loss %g, alone %g", j.Key, k+1, runs[i].Loss[k], info.Loss)
			}
		}
		for _, q := range alone.List() {
			if !slices.Equal(q.Data, params.Get(q.Name).Slot(i)) {
				t.Fatalf("key %s: %s has other values than alone", j.Key, q.Name)
			}
		}
	}
}

// TestObjectiveOfReplicas: metrics of pairs that two replicas share, with a sharded optimiser too, are those of one; so are evaluations,
// and what a resumed run has.
func TestObjectiveOfReplicas(t *testing.T) {
	r := openObjectiveCase(t, "toy_pairs")
	states := map[string]*State{}
	for _, c := range []struct {
		name             string
		replicas, shards int
		mode             string
	}{{"one", 1, 0, "sync"}, {"two", 2, 0, "sync"}, {"sharded", 2, 2, "sync"}, {"local", 2, 0, "local"}} {
		j := pinJob(t, datasets.KindLM, r.data, r.data)
		j.Objective, j.ObjectiveArgs, j.SequenceLength = "toy_pairs", map[string]any{"beta": 0.5}, r.longest
		j.Args.Stride, j.Args.GradientAccumulationSteps, j.Args.PerDeviceTrainBatchSize, j.Args.MaxSteps = 1, 1, 4/c.replicas, 3
		j.Args.Replicas, j.Args.OptimizerShards, j.Args.Mode, j.Args.LocalSteps = c.replicas, c.shards, c.mode, 1
		raw, err := json.Marshal(&j)
		if err != nil {
			t.Fatal(err)
		}
		err = Use(string(raw), func(s *Session) error {
			if c.replicas == 1 {
				if _, err := s.Advance(0, 2); err != nil {
					return err
				}
				s.state = nil // as another process goes on
				_, err := s.Advance(2, 3)
				states[c.name] = s.State()
				return err
			}
			for step := range 3 {
				if _, err := s.round(step); err != nil {
					return err
				}
			}
			states[c.name] = s.State()
			return nil
		})
		CloseSessions()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := states["one"]
	if n := len(want.History[0].Metrics); n != 3 || len(want.Evals) != 2 || len(want.Evals[0].Metrics) != 3 {
		t.Fatalf("%d metrics, evaluations %+v", n, want.Evals)
	}
	near := func(a, b map[string]float64) bool {
		return maps.EqualFunc(a, b, func(x, y float64) bool { return math.Abs(x-y) < 1e-4*max(1, math.Abs(x)) })
	}
	for _, name := range []string{"two", "sharded"} {
		got := states[name]
		for i, h := range want.History {
			if g := got.History[i]; !near(h.Metrics, g.Metrics) || math.Abs(h.Loss-g.Loss) > 1e-5 {
				t.Errorf("%s, step %d: loss %g, %v; one replica %g, %v", name, i+1, g.Loss, g.Metrics, h.Loss, h.Metrics)
			}
		}
		for i, e := range want.Evals {
			if g := got.Evals[i]; !near(e.Metrics, g.Metrics) || g.Tokens != 6 {
				t.Errorf("%s, evaluation %d: %+v, one replica %+v", name, i, g, e)
			}
		}
	}
	if m := states["local"].History[0].Metrics; len(m) != 3 {
		t.Errorf("local: %v", m)
	}
}

// round is a round of several replicas in this process.
func (s *Session) round(step int) (int, error) {
	var refs []Ref
	for r := range s.job.Args.Replicas {
		ref, err := s.Replica(step, r)
		if err != nil {
			return 0, err
		}
		refs = append(refs, ref)
	}
	if s.job.Args.OptimizerShards < 2 {
		return s.Combine(step, refs)
	}
	var sums []ShardSum
	for k := range s.job.Args.OptimizerShards {
		sum, err := s.Reduce(step, k, refs)
		if err != nil {
			return 0, err
		}
		sums = append(sums, sum)
	}
	steps, err := s.Norm(step, sums)
	if err != nil {
		return 0, err
	}
	for k := range steps {
		if steps[k], err = s.Apply(steps[k]); err != nil {
			return 0, err
		}
	}
	return s.Gather(step, steps)
}

// TestGroupsStayTogether: a batch of pairs that is run in parts, because virtual tokens stand before each document, is cut between pairs.
func TestGroupsStayTogether(t *testing.T) {
	r := openObjectiveCase(t, "toy_pairs")
	var err error
	if r.adapter, err = peft.New("PROMPT_TUNING", map[string]any{"num_virtual_tokens": 4}, nn.Sites(r.model),
		peft.Env{ModelType: "llama", Seed: 1}); err != nil {
		t.Fatal(err)
	}
	r.args.MaxGradNorm = 0
	params := nn.NewParams(1)
	defer params.Free()
	tr, err := NewTrainer(r.args, r.setup(params, len(r.data)))
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	sh, err := tr.take(tr.lanes[0], r.data, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	parts := sh.batches[0].parts(tr.prog)
	if len(parts) < 2 {
		t.Fatalf("%d parts", len(parts))
	}
	docs := 0
	for _, p := range parts {
		if p.Docs()%2 != 0 || p.Docs() != len(p.Step.Docs) || p.ends[p.Docs()-1] != len(p.Step.Rows) {
			t.Errorf("a part of %d documents, rows end at %v of %d", p.Docs(), p.ends, len(p.Step.Rows))
		}
		docs += p.Docs()
	}
	if docs != sh.batches[0].Docs() {
		t.Errorf("%d documents in parts, %d at once", docs, sh.batches[0].Docs())
	}
	objectiveAccumulates(t, r)
}

// columned is an objective with a column of either kind.
type columned struct{ SFT }

func (columned) Spec() Spec {
	return Spec{Columns: []Column{{Name: "id", PerToken: true}, {Name: "document"}}}
}

// TestColumns: a number of each supervised token and of each document, at once and in parts.
func TestColumns(t *testing.T) {
	r := openObjectiveCase(t, "toy_pairs")
	doc := float32(0)
	for i := range r.data {
		q := &r.data[i]
		q.Values = map[string][]float32{}
		for range q.DocStarts {
			q.Values["document"] = append(q.Values["document"], doc)
			doc++
		}
		for _, id := range q.InputIDs {
			q.Values["id"] = append(q.Values["id"], float32(id))
		}
	}
	g := newGoal(columned{})
	whole, err := g.batch(r.data)
	if err != nil {
		t.Fatal(err)
	}
	prog, err := nn.Compile(r.model, nil, nn.NewParams(1),
		nn.Options{Mode: nn.ModeScore, Caps: nn.Caps{T: 2 * r.longest, S: 2 * r.longest, N: 5}})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	doc = 0
	for _, b := range append([]*Batch{whole}, whole.parts(prog)...) {
		if int(doc) == whole.Docs() {
			doc = 0
		}
		for d := range b.Docs() {
			if x := b.Column("document")[d]; x != doc {
				t.Errorf("document %g has %g", doc, x)
			}
			doc++
			from, to := b.Rows(d)
			for i := from; i < to; i++ {
				if x := b.Column("id")[i]; x != float32(b.Step.Labels[i]) {
					t.Errorf("the label %d has %g", b.Step.Labels[i], x)
				}
			}
		}
	}
	if n := len(whole.parts(prog)); n < 2 || int(doc) != whole.Docs() {
		t.Errorf("%d parts, %g documents", n, doc)
	}
}

// TestObjectivesThatDoNotFit: what is wrong with settings, rows and methods is named.
func TestObjectivesThatDoNotFit(t *testing.T) {
	says := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want it to say %q", err, want)
		}
	}
	_, err := NewObjective("dpo2", nil)
	says(err, "known are distil, classify, dpo, kto, cpo, orpo, reward, grpo, rloo, online_dpo, gkd, sft")
	_, err = NewObjective("toy_pairs", map[string]any{"betta": 1})
	says(err, "betta")
	if o, err := NewObjective("toy_pairs", map[string]any{"beta": 0.25}); err != nil || o.(*toyPairs).Beta != 0.25 {
		t.Errorf("%+v, %v", o, err)
	}
	pairs, rollouts := openObjectiveCase(t, "toy_pairs"), openObjectiveCase(t, "toy_rollouts")
	odd := pairs.data[1].Pick(func(i int) bool { return i < 3 })
	g := newGoal(pairs.objective)
	_, err = g.batch([]datasets.Sequence{odd})
	says(err, "document 1/0: 3 documents, where 2 at a time are an example")
	g = newGoal(rollouts.objective)
	_, err = g.batch(pairs.data)
	says(err, "its column old_logps has 0 numbers for")
	full, err := peft.New("FULL", nil, nn.Sites(pairs.model), peft.Env{ModelType: "llama", Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	pairs.adapter = full
	j := pinJob(t, datasets.KindClassification, classes(4), classes(2))
	raw, err := json.Marshal(&j)
	if err != nil {
		t.Fatal(err)
	}
	says(Use(string(raw), func(*Session) error { return nil }), "rows of the kind classification, and the training takes lm")
	params := nn.NewParams(1)
	defer params.Free()
	_, err = NewTrainer(pairs.args, pairs.setup(params, 4))
	says(err, "cannot be switched off")
	if o, ok := rollouts.objective.(Sampler); !ok || !reflect.DeepEqual(o.Rollouts(), Rollouts{Prompts: 4, N: 2, MaxTokens: 8}) {
		t.Error("rollouts are not asked for")
	}
}

func TestRegisterObjective(t *testing.T) {
	refused := func(text string, r ObjectiveRow) {
		t.Helper()
		n := len(Objectives)
		defer func() {
			t.Helper()
			if got, _ := recover().(string); !strings.Contains(got, text) || len(Objectives) != n {
				t.Errorf("%d rows after %q, want %q", len(Objectives), got, text)
			}
		}()
		RegisterObjective(r)
	}
	sft := func() Objective { return SFT{} }
	refused("there is an objective sft already", ObjectiveRow{Name: "sft", New: sft})
	refused("there is an objective toy_pairs already", ObjectiveRow{Name: "toy_pairs", New: sft}) // which a test has registered
	refused("has a name and a constructor", ObjectiveRow{Name: "own"})
	refused("has a name and a constructor", ObjectiveRow{New: sft})
}
