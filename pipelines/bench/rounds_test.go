package bench

import (
	"context"
	"testing"
)

func TestBenchRoundsMeasuresEveryRound(t *testing.T) {
	r, err := Rounds(context.Background(), RoundsConfig{Rounds: 4, Replicas: 2, Mode: "sync", SaveSteps: 2, Rank: 1, SequenceLength: 64})
	if err != nil {
		t.Fatal(err)
	}
	if r.Rounds != 4 || r.Trainable != 28032 || r.SyncsRound < 1 || r.OverheadSeconds <= 0 || r.OverheadSeconds >= r.RoundSeconds ||
		r.ResidentLast == 0 || r.HeapLast == 0 {
		t.Errorf("%+v", *r)
	}
}
