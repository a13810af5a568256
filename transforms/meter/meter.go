// Package meter counts what the steps of a pipeline do: documents, bytes and tokens in and out, what is rejected and why, how full
// sequences are, and how training goes. The counts are Beam's user metrics, of each step (a PTransform), so that the engine's own page and
// interface show them: Flink's web UI and REST API, Dataflow's job page, or the job service that Beam's engines have.
package meter

import (
	"context"
	"math"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
)

// Namespace is that of all metrics.
const Namespace = "adaptflow"

// Counter is a metric that adds up.
type Counter string

// Distribution is a metric of which sum, count, least and greatest value are kept. Beam has whole numbers alone.
type Distribution string

// The counters and distributions, by step. What is rejected is counted as "rejected." and the reason: see [Rejected].
const (
	DocumentsIn  Counter = "documents_in"
	DocumentsOut Counter = "documents_out"
	BytesIn      Counter = "bytes_in"  // of the texts; of what ingest.Read rejects, the bytes that its dead letters hold
	BytesOut     Counter = "bytes_out" // of the texts
	TokensIn     Counter = "tokens_in"
	TokensOut    Counter = "tokens_out"
	SequencesOut Counter = "sequences_out"

	PartsScored Counter = "parts_scored" // of an evaluation: a shard each

	KeysTrained  Counter = "keys_trained"
	KeysFailed   Counter = "keys_failed"
	KeysRejected Counter = "keys_rejected"

	Steps           Counter = "optimizer_steps"
	Tokens          Counter = "train_tokens"
	CheckpointBytes Counter = "checkpoint_bytes"
	BytesSent       Counter = "replica_bytes_sent" // by the replicas of a round

	PackingFill      Distribution = "packing_fill_permille"   // of a shard: tokens for 1000 places of its sequences
	Loss             Distribution = "train_loss_millionths"   // of an optimiser step
	GradNorm         Distribution = "grad_norm_millionths"    // of an optimiser step, before clipping
	StepMilliseconds Distribution = "train_step_milliseconds" // of an optimiser step
	EvalLoss         Distribution = "eval_loss_millionths"    // of an evaluation
)

// Add adds n to a counter of the step that runs. It is called from the bundle's own goroutine.
func Add(ctx context.Context, c Counter, n int64) {
	if n != 0 {
		beam.NewCounter(Namespace, string(c)).Inc(ctx, n)
	}
}

// Observe adds a value to a distribution of the step that runs.
func Observe(ctx context.Context, d Distribution, value int64) {
	beam.NewDistribution(Namespace, string(d)).Update(ctx, value)
}

// Millionths adds a real number to a distribution in millionths. What is not finite, or too large, is left out.
func Millionths(ctx context.Context, d Distribution, value float64) {
	if x := math.Round(value * 1e6); math.Abs(x) < 1<<62 {
		Observe(ctx, d, int64(x))
	}
}

// Rejected adds rejected records, by reason.
func Rejected(ctx context.Context, rejected map[string]int64) {
	for reason, n := range rejected {
		Add(ctx, Counter("rejected."+reason), n)
	}
}
