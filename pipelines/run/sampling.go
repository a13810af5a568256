package run

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/pipelines/drive"
	"github.com/adaptflow/adaptflow/rewards"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/rollouts"
)

// rounds is how a job goes in rounds of answers that are sampled and scored; nil for one that learns from its shards.
func rounds(job *train.Job) (*train.Online, error) {
	o, err := job.Online()
	if err == nil && o != nil && !o.Unscored {
		_, err = rewards.NewSet(o.RewardFuncs)
	}
	if err != nil {
		return nil, fmt.Errorf("train.objective_args: %w", err)
	}
	return o, nil
}

// sampling is what precedes the training of a job's rounds: the answers that they are trained on are sampled and scored.
func (r *Run) sampling(ctx context.Context, job train.Job) ([]drive.Before, error) {
	o, err := rounds(&job)
	if err != nil || o == nil {
		return nil, err
	}
	raw, err := json.Marshal(&job)
	if err != nil {
		return nil, err
	}
	cfg := rollouts.Config{Job: string(raw), Engine: tokenize.Engine(r.Recipe.Model.TokenizerEngine), Ends: r.ends(), Parts: o.Parts()}
	if cfg.Tokenizer, err = r.Shared(ctx, r.tokenizerDir()); err != nil {
		return nil, err
	}
	return []drive.Before{func(s beam.Scope, at beam.PCollection) beam.PCollection { return rollouts.Round(s, cfg, at) }}, nil
}
