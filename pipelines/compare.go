package pipelines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/recipe"
	core "github.com/adaptflow/adaptflow/train"
)

// CompareFile is the summary of a comparison of methods.
const CompareFile = "compare.json"

// Trial is one training of a comparison.
type Trial struct {
	Method          string         `json:"method"`
	Config          map[string]any `json:"config"`
	LearningRate    float64        `json:"learning_rate"`
	Trainable       int            `json:"trainable_parameters"`
	Validation      float64        `json:"validation_nll"` // by which the learning rate is chosen: text held out of the training input
	Domain          float64        `json:"domain_nll"`
	General         float64        `json:"general_nll,omitempty"`
	TokensPerSecond float64        `json:"tokens_per_second"`
	Diverged        bool           `json:"diverged,omitempty"`
}

// Comparison is what `run compare-methods` found: every trial, and the best of each method.
type Comparison struct {
	Budget int `json:"parameter_budget"`
	Base   struct {
		Domain  float64 `json:"domain_nll"`
		General float64 `json:"general_nll,omitempty"`
	} `json:"base"`
	Overlap []Overlap `json:"overlap,omitempty"` // of what is measured on with what is trained on
	Best    []Trial   `json:"best"`              // by method, the largest domain gain first
	Trials  []Trial   `json:"trials"`
	Paths   []string  `json:"paths"`
}

// trialName names a trial's record and its adapter's folder.
func trialName(method string, learningRate float64) string {
	return fmt.Sprintf("%s-%g", strings.ToLower(method), learningRate)
}

// Compare trains every method of the recipe's compare section, sized to one budget of trainable parameters, at every learning rate of the sweep, on
// the same shards; the rate is chosen on held-out training text and the result scored on the evaluation sets. The trials are records of the
// run: an interrupted comparison goes on where it stopped.
func (r *Run) Compare(ctx context.Context) (*Comparison, error) {
	path := filepath.Join(r.Output, CompareFile)
	if raw, err := storage.ReadSmall(path, storage.KindState); err == nil {
		c := &Comparison{}
		if err := json.Unmarshal(raw, c); err != nil {
			return nil, fmt.Errorf("%s: %w: delete it, and it is made again", path, err)
		}
		if done, err := r.compareFinished(c); done || err != nil {
			return c, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	cmp := r.Recipe.Compare
	d, err := r.Prepare(ctx)
	if err != nil {
		return nil, err
	}
	if len(d.Train.Validation) == 0 {
		return nil, errors.New("nothing was held out of the input to choose learning rates by: raise data.validation_fraction, or give more documents")
	}
	before, err := record(r, "before", func() (*measure.Results, error) { return r.Evaluate(ctx, d, nil, nn.NewParams(1)) })
	if err != nil {
		return nil, err
	}
	out := &Comparison{Budget: cmp.ParameterBudget, Overlap: d.Overlap,
		Paths: []string{CompareFile, ReportFile, AdapterDir + "s", "shards", RecipeFile}}
	out.Base.Domain = math.NaN()
	if before.Domain != nil {
		out.Base.Domain = before.Domain.NLL
	}
	if before.General != nil {
		out.Base.General = before.General.NLL
	}
	if out.Budget == 0 {
		a, err := r.adapter("")
		if err != nil {
			return nil, err
		}
		out.Budget = a.Trainable()
	}
	env := peft.Env{ModelType: r.model.Config.ModelType, BaseModel: r.baseName(), Seed: r.Recipe.Train.Seed, Tied: r.model.Config.Tied}
	for _, m := range cmp.Methods {
		config, n, err := r.sized(m, env, out.Budget)
		if err != nil {
			return nil, fmt.Errorf("compare.methods: %s: %w", m, err)
		}
		rates := cmp.LearningRates
		if len(rates) == 0 {
			rates = []float64{r.Recipe.Train.LearningRate}
		}
		var best *Trial
		for _, lr := range rates {
			t, err := record(r, "trial-"+trialName(m, lr), func() (*Trial, error) {
				r.say("%s, %d parameters, learning rate %g", m, n, lr)
				return r.trial(ctx, d, m, config, n, lr)
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
			r.say("%s diverged at every learning rate", m)
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
	if err := storage.WriteFile(filepath.Join(r.Output, ReportFile), page); err != nil {
		return nil, err
	}
	if err := storage.WriteJSON(path, out); err != nil {
		return nil, err
	}
	return out, r.publish()
}

// sized is the configuration of a method of the comparison: the recipe's own for its method, all linear layers for methods that take targets, sized
// to the budget.
func (r *Run) sized(m string, env peft.Env, budget int) (map[string]any, int, error) {
	if own, _ := r.Recipe.Method["peft_type"].(string); strings.EqualFold(own, m) {
		config := map[string]any{}
		for k, v := range r.Recipe.Method {
			if k != "peft_type" && k != "r" {
				config[k] = v
			}
		}
		return peft.Fit(m, config, nn.Sites(r.model), env, budget)
	}
	config, n, err := peft.Fit(m, nil, nn.Sites(r.model), env, budget)
	wide, k, err2 := peft.Fit(m, map[string]any{"target_modules": "all-linear"}, nn.Sites(r.model), env, budget)
	if err2 == nil && (err != nil || math.Abs(math.Log(float64(k)/float64(budget))) <= math.Abs(math.Log(float64(n)/float64(budget)))) {
		return wide, k, nil
	}
	return config, n, err
}

// trial trains and scores one method at one learning rate.
func (r *Run) trial(ctx context.Context, d *Data, m string, config map[string]any, n int, lr float64) (*Trial, error) {
	t := &Trial{Method: m, Config: config, LearningRate: lr, Trainable: n}
	sub := *r
	rec := *r.Recipe
	rec.Method = map[string]any{"peft_type": m}
	for k, v := range config {
		rec.Method[k] = v
	}
	rec.Train.LearningRate, rec.Train.LoadBestModelAtEnd, rec.Train.EvalSteps = lr, false, 1<<30 // scored at the last step
	rec.Evaluate.MaxNewTokens = 0
	sub.Recipe = &rec
	sub.Output = filepath.Join(r.Output, "trials", trialName(m, lr))
	own := *d
	own.Domain = d.Train.Validation
	st, err := sub.Train(ctx, &own)
	if diverged(err) && ctx.Err() == nil {
		t.Diverged = true
		return t, os.RemoveAll(sub.Output)
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
	a, params, err := sub.Trained(st)
	if err != nil {
		return nil, err
	}
	defer params.Free()
	after, err := sub.Evaluate(ctx, d, []nn.Adapter{a}, params)
	if diverged(err) && ctx.Err() == nil {
		t.Diverged = true
		return t, os.RemoveAll(sub.Output)
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
	args := sub.args()
	trained, err := core.TrainedCount(&args, a)
	if err != nil {
		return nil, err
	}
	card := peft.Card{Version: version.Version, Trained: trained, Training: [][2]string{{"steps", fmt.Sprint(st.Step)}, {"learning_rate", fmt.Sprint(lr)}}}
	card.Training = append(card.Training, r.teaching()...)
	if err := a.Save(filepath.Join(r.Output, AdapterDir+"s", filepath.Base(sub.Output)), params, 0, card); err != nil {
		return nil, err
	}
	return t, os.RemoveAll(sub.Output) // its checkpoints
}

// Table prints the comparison for a person.
func (c *Comparison) Table(w io.Writer, output string) {
	fmt.Fprintf(w, "\n  base: domain perplexity %s", figure("%.2f", expNLL(c.Base.Domain)))
	if c.Base.General > 0 {
		fmt.Fprintf(w, ", general %.2f", math.Exp(c.Base.General))
	}
	fmt.Fprintf(w, "; budget %d parameters\n\n  %-26s %10s %10s %12s %10s %12s %10s %10s\n", c.Budget, "method", "parameters", "rate", "domain", "gain", "general", "forgotten", "tokens/s")
	fmt.Fprintln(w, "  "+strings.Repeat("-", 107))
	for _, t := range c.Best {
		general, forgotten := "", ""
		if c.Base.General > 0 {
			general, forgotten = fmt.Sprintf("%.2f", math.Exp(t.General)), fmt.Sprintf("%+.1f %%", 100*(math.Exp(t.General-c.Base.General)-1))
		}
		fall := figure("%.1f %%", 100*(1-expNLL(t.Domain)/expNLL(c.Base.Domain)))
		fmt.Fprintf(w, "  %-26s %10d %10g %12s %11s %11s %10s %10.0f\n", t.Method, t.Trainable, t.LearningRate, figure("%.2f", expNLL(t.Domain)), fall, general,
			forgotten, t.TokensPerSecond)
	}
	for _, m := range c.diverged() {
		fmt.Fprintf(w, "  %-26s diverged at every learning rate: lower compare.learning_rates\n", m)
	}
	for _, o := range c.Overlap {
		fmt.Fprintf(w, "  warning: %s\n", o)
	}
	fmt.Fprintf(w, "\n  written to %s:\n", output)
	for _, p := range c.Paths {
		fmt.Fprintln(w, "    "+storage.Join(output, p))
	}
}

// diverged are the methods of which no trial ended well, in the trials' order.
func (c *Comparison) diverged() (out []string) {
	for _, t := range c.Trials {
		if !slices.Contains(out, t.Method) && !slices.ContainsFunc(c.Best, func(b Trial) bool { return b.Method == t.Method }) {
			out = append(out, t.Method)
		}
	}
	return out
}

// Comparing says whether a recipe is a comparison of methods.
func Comparing(r *recipe.Recipe) bool { return len(r.Compare.Methods) > 0 }
