package train

import (
	"context"
	"sync"

	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/meter"
)

// count counts the optimiser steps, evaluations and checkpoints that the session makes until end is called, as metrics of the step of the
// pipeline that runs.
func count(ctx context.Context, s *core.Session) (end func()) {
	var mu sync.Mutex
	var seen []core.Progress
	stop := core.Watch(s.Dir(), func(p core.Progress) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, p)
	})
	return func() {
		stop()
		for _, p := range seen {
			meter.Add(ctx, meter.CheckpointBytes, p.Saved)
			if p.Eval != nil {
				meter.Millionths(ctx, meter.EvalLoss, p.Eval.Loss)
			}
			if p.Step != nil {
				meter.Add(ctx, meter.Steps, 1)
				meter.Add(ctx, meter.Tokens, int64(p.Step.Tokens))
				meter.Add(ctx, meter.BytesSent, p.Step.BytesSent)
				meter.Millionths(ctx, meter.Loss, p.Step.Loss)
				meter.Millionths(ctx, meter.GradNorm, p.Step.GradNorm)
				meter.Observe(ctx, meter.StepMilliseconds, int64(p.Step.Seconds*1000))
			}
		}
	}
}
