package kinds

import (
	"cmp"
	"context"
	"path/filepath"

	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/recipe"
)

// classificationKind trains one adapter with a head of classes, which the data tells.
var classificationKind = Kind{
	Name:    "classification",
	When:    func(r *recipe.Recipe) bool { return r.Classifies() },
	Summary: run.MetricsFile,
	Afar:    true,
	Run:     runSingle,
	Export:  func(ctx context.Context, r *run.Run) error { return r.ExportTrained(ctx) },
	Asks:    servesOne, // /v1/score
	Shown:   Shown{By: run.MetricsFile, Facts: inspectMetrics},
}

// rewardKind trains one adapter with a head of one score, from pairs of answers.
var rewardKind = Kind{
	Name:    "a reward model",
	When:    func(r *recipe.Recipe) bool { return r.Rewards() },
	Summary: run.MetricsFile,
	Afar:    true,
	Run:     runSingle,
	Export:  func(ctx context.Context, r *run.Run) error { return r.ExportTrained(ctx) },
	Asks:    servesOne, // /v1/score
	Shown:   Shown{By: run.MetricsFile, Facts: inspectMetrics},
}

// singleKind trains one adapter of a language model: whatever no other kind is for.
var singleKind = Kind{
	Name:    "one adapter",
	When:    func(*recipe.Recipe) bool { return true },
	Summary: run.MetricsFile,
	Afar:    true,
	Run:     runSingle,
	Export:  func(ctx context.Context, r *run.Run) error { return r.ExportTrained(ctx) },
	Asks:    asksOne,
	Shown:   Shown{By: run.MetricsFile, Facts: inspectMetrics},
}

// asksOne asks the adapter of a run: in a conversation where it was trained on such, after a prompt else.
func asksOne(r *recipe.Recipe, output string) []string {
	if r.Prepare.ApplyChatTemplate {
		return []string{"chat", "--model", r.Model.Path, "--adapter", filepath.Base(output) + "=" + output}
	}
	return []string{"generate", "--model", r.Model.Path, "--adapter", filepath.Join(output, "adapter"), "--prompt", "…"}
}

// servesOne serves the adapter of a run.
func servesOne(r *recipe.Recipe, output string) []string {
	return []string{"serve", "--model", r.Model.Path, "--adapter", filepath.Base(output) + "=" + output}
}

func runSingle(ctx context.Context, r *run.Run, _ Options) (Outcome, error) {
	m, err := r.All(ctx)
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Summary: m, Bad: cmp.Or(r.Forgot(), r.Bad(m.Data.Funnel))}, nil
}

// inspectMetrics describes the folder of a finished run of one adapter.
func inspectMetrics(path string) ([]report.Fact, error) {
	m, err := report.ReadMetrics(path)
	if err != nil {
		return nil, err
	}
	facts := report.Facts("finished run", path, "steps", m.Train.Steps, "tokens", m.Train.Tokens, "records read", m.Data.Read,
		"records kept", m.Data.Kept)
	for _, f := range m.Data.Formats {
		facts = append(facts, report.NewFact("detected", f))
	}
	facts = append(facts, report.TallyFacts(m.Data.Unused, m.Data.Notes)...)
	facts = append(facts, report.FunnelFacts(m.Data.Funnel)...)
	if s := m.Eval.Domain; s != nil {
		facts = append(facts, report.NewFact("domain perplexity", report.BeforeAfter(s.Before.Perplexity, s.After.Perplexity)))
	}
	return facts, nil
}
