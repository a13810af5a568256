package kinds

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/recipe"

	"github.com/adaptflow/adaptflow/train"
)

// compareKind compares methods.
var compareKind = Kind{
	Name:    "a comparison of methods",
	When:    func(r *recipe.Recipe) bool { return len(r.Compare.Methods) > 0 },
	Summary: CompareFile,
	Afar:    true,
	Prepare: prepareComparison,
	DryRun: func(ctx context.Context, r *run.Run) error {
		budget, err := budgetOf(r)
		if err != nil {
			return err
		}
		m := r.Recipe.Compare.Methods[0]
		config, _, err := sized(r, m, budget)
		if err != nil {
			return fmt.Errorf("compare.methods: %s: %w", m, err)
		}
		s, err := trialRun(r, m, config, ratesOf(r)[0])
		if err != nil {
			return err
		}
		return s.DryRun(ctx)
	},
	Run: func(ctx context.Context, r *run.Run, _ Options) (Outcome, error) {
		ctx, end := r.UnderLease(ctx)
		defer end()
		c, err := compare(ctx, r)
		if err != nil {
			return Outcome{}, cmp.Or(r.Held(), err)
		}
		return Outcome{Summary: c}, nil
	},
	Export: func(_ context.Context, r *run.Run) error {
		return fmt.Errorf("a comparison of methods has no adapter of its own: run domain-adaptation with the settings of the best, which "+
			"%s has",
			r.Product(CompareFile))
	},
}

// prepareComparison holds text out of the input also where eval_input is given: learning rates are chosen by the one, and the result is
// scored on the other.
func prepareComparison(ctx context.Context, r *run.Run) (*run.Data, error) {
	r.HoldOut = true
	return r.Prepare(ctx)
}

// trialName names a trial's record and its adapter's folder.
func trialName(method string, learningRate float64) string {
	return fmt.Sprintf("%s-%g", strings.ToLower(method), learningRate)
}

// compare trains every method of the recipe's compare section, sized to one budget of trainable parameters, at every learning rate of the
// sweep, on the same shards; the rate is chosen on held-out training text and the result scored on the evaluation sets. The trials are
// records of the run: an interrupted comparison goes on where it stopped.
func compare(ctx context.Context, r *run.Run) (*Comparison, error) {
	path := filepath.Join(r.Output, CompareFile)
	if raw, err := storage.ReadSmall(path, storage.KindState); err == nil {
		c := &Comparison{}
		if err := json.Unmarshal(raw, c); err != nil {
			return nil, fmt.Errorf("%s: %w: delete it, and it is made again", path, err)
		}
		if done, err := compareFinished(r, c); done || err != nil {
			return c, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	d, err := prepareComparison(ctx, r)
	if err != nil {
		return nil, err
	}
	if len(d.Train.Validation) == 0 {
		return nil, errors.New("nothing was held out of the input to choose learning rates by: raise data.validation_fraction, or give " +
			"more documents")
	}
	before, err := run.Record(r, "before", func() (*measure.Results, error) { return r.Evaluate(ctx, d, train.Point{}) })
	if err != nil {
		return nil, err
	}
	out := &Comparison{Overlap: d.Overlap,
		Paths: []string{CompareFile, report.File, run.AdapterDir + "s", "shards", run.RecipeFile}}
	out.Base.Domain = math.NaN()
	if before.Domain != nil {
		out.Base.Domain = before.Domain.NLL
	}
	if before.General != nil {
		out.Base.General = before.General.NLL
	}
	if out.Budget, err = budgetOf(r); err != nil {
		return nil, err
	}
	type method struct {
		config map[string]any
		n      int
	}
	var methods []method // all of them before the first is trained
	for _, m := range r.Recipe.Compare.Methods {
		config, n, err := sized(r, m, out.Budget)
		if err != nil {
			return nil, fmt.Errorf("compare.methods: %s: %w", m, err)
		}
		methods = append(methods, method{config, n})
	}
	for i, m := range r.Recipe.Compare.Methods {
		config, n := methods[i].config, methods[i].n
		var best *Trial
		for _, lr := range ratesOf(r) {
			t, err := run.Record(r, "trial-"+trialName(m, lr), func() (*Trial, error) {
				r.Tell("%s, %d parameters, learning rate %g", m, n, lr)
				return trial(ctx, r, d, m, config, n, lr)
			})
			if err != nil {
				return nil, err
			}
			if t.Domain == 0 {
				t.Domain = math.NaN() // null in the record
			}
			out.Trials = append(out.Trials, *t)
			if !t.Diverged && (best == nil || t.Validation < best.Validation) {
				best = t
			}
		}
		if best == nil {
			r.Tell("%s diverged at every learning rate", m)
			continue
		}
		out.Best = append(out.Best, *best)
	}
	slices.SortStableFunc(out.Best, func(a, b Trial) int {
		switch {
		case a.Domain < b.Domain:
			return -1
		case a.Domain > b.Domain:
			return 1
		}
		return strings.Compare(a.Method, b.Method)
	})
	page, err := compareHTML(out)
	if err != nil {
		return nil, err
	}
	if err := storage.WriteFile(filepath.Join(r.Output, report.File), page); err != nil {
		return nil, err
	}
	if err := storage.WriteJSON(path, out); err != nil {
		return nil, err
	}
	return out, r.Publish()
}

// budgetOf is the number of trainable parameters that methods are sized to.
func budgetOf(r *run.Run) (int, error) {
	if n := r.Recipe.Compare.ParameterBudget; n != 0 {
		return n, nil
	}
	a, err := r.Adapter("")
	if err != nil {
		return 0, err
	}
	return a.Trainable(), nil
}

// ratesOf are the learning rates of the sweep.
func ratesOf(r *run.Run) []float64 {
	if rates := r.Recipe.Compare.LearningRates; len(rates) > 0 {
		return rates
	}
	return []float64{r.Recipe.Train.LearningRate}
}

// sized is the configuration of a method of the comparison: the recipe's own for its method, all linear layers for methods that take
// targets, sized to the budget.
func sized(r *run.Run, m string, budget int) (map[string]any, int, error) {
	env := peft.Env{ModelType: r.Model().Config.ModelType, BaseModel: r.BaseName(), Seed: r.Recipe.Train.Seed, Tied: r.Model().Config.Tied}
	if own, _ := r.Recipe.Method["peft_type"].(string); strings.EqualFold(own, m) {
		config := map[string]any{}
		for k, v := range r.Recipe.Method {
			if k != "peft_type" && k != "r" {
				config[k] = v
			}
		}
		return peft.Fit(m, config, nn.Sites(r.Model()), env, budget)
	}
	config, n, err := peft.Fit(m, nil, nn.Sites(r.Model()), env, budget)
	wide, k, err2 := peft.Fit(m, map[string]any{"target_modules": "all-linear"}, nn.Sites(r.Model()), env, budget)
	if err2 == nil && (err != nil || math.Abs(math.Log(float64(k)/float64(budget))) <= math.Abs(math.Log(float64(n)/float64(budget)))) {
		return wide, k, nil
	}
	return config, n, err
}

// trialRun is the run of a trial within r.
func trialRun(r *run.Run, m string, config map[string]any, lr float64) (*run.Run, error) {
	rec := *r.Recipe
	rec.Method = map[string]any{"peft_type": m}
	for k, v := range config {
		rec.Method[k] = v
	}
	rec.Train.LearningRate, rec.Train.LoadBestModelAtEnd, rec.Train.EvalSteps = lr, false, 1<<30 // scored at the last step
	rec.Evaluate.MaxNewTokens = 0
	return r.Sub(&rec, "trials", trialName(m, lr))
}

// trial trains and scores one method at one learning rate.
func trial(ctx context.Context, r *run.Run, d *run.Data, m string, config map[string]any, n int, lr float64) (*Trial, error) {
	t := &Trial{Method: m, Config: config, LearningRate: lr, Trainable: n}
	sub, err := trialRun(r, m, config, lr)
	if err != nil {
		return nil, err
	}
	own := *d
	own.Domain = d.Train.Validation
	st, err := sub.Train(ctx, &own)
	if run.Diverged(err) && ctx.Err() == nil {
		t.Diverged = true
		return t, sub.Discard(ctx)
	}
	if err != nil {
		return nil, err
	}
	if len(st.Evals) > 0 {
		t.Validation = st.Evals[len(st.Evals)-1].Loss
	}
	if st.Seconds > 0 {
		t.TokensPerSecond = float64(st.TokensSeen) / st.Seconds
	}
	after, err := sub.Evaluate(ctx, d, sub.PointOf(st))
	if run.Diverged(err) && ctx.Err() == nil {
		t.Diverged = true
		return t, sub.Discard(ctx)
	}
	if err != nil {
		return nil, err
	}
	if t.Domain = math.NaN(); after.Domain != nil {
		t.Domain = after.Domain.NLL
	}
	if after.General != nil {
		t.General = after.General.NLL
	}
	if math.IsInf(t.Domain, 0) { // NaN: nothing was measured
		t.Diverged = true
	}
	card := peft.Card{Training: [][2]string{{"steps", fmt.Sprint(st.Step)}, {"learning_rate", fmt.Sprint(lr)}}}
	card.Training = append(card.Training, r.Teaching()...)
	if card.Trained, _, err = sub.Parameters(); err != nil {
		return nil, err
	}
	if err := sub.Save(ctx, st, card, r.Product(run.AdapterDir+"s", filepath.Base(sub.Output))); err != nil {
		return nil, err
	}
	return t, sub.Discard(ctx) // its checkpoints
}

// compareFinished says whether the adapters of a finished comparison are there. A trial that lacks its own is run again.
func compareFinished(r *run.Run, c *Comparison) (bool, error) {
	done := true
	for _, t := range c.Trials {
		name := trialName(t.Method, t.LearningRate)
		if t.Diverged || run.Weighs(r.Product(run.AdapterDir+"s", name)) {
			continue
		}
		r.Tell("this comparison is finished, but %s is missing: its trial is run again", r.Product(run.AdapterDir+"s", name))
		if err := r.Unrecord("trial-" + name); err != nil {
			return false, err
		}
		done = false
	}
	_, why, err := r.BrokenShards("train")
	if err != nil {
		return false, err
	}
	if there, err := storage.Exists(r.Product(report.File)); err != nil || !there || why != "" {
		done = false // the trials are records: nothing else is done again
	}
	if done {
		r.Tell("this comparison is finished: %s", r.Product())
	}
	return done, nil
}
