package infer

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/evaluate"
)

// TestAnswer: answers are the same alone and beside others, in any order and however many at a time; their log-probabilities are those that
// the model gives to the same tokens when it reads them.
func TestAnswer(t *testing.T) {
	m := embedded(t)
	s := evaluate.Sampling{DoSample: true, Temperature: 1, Seed: 3}
	var asks []Ask
	for i, p := range []string{"The city", "1 + 2 =", "A long prompt of some more words than the others, which"} {
		ids, err := m.Prompt(p)
		if err != nil {
			t.Fatal(err)
		}
		for k := range 3 {
			asks = append(asks, Ask{IDs: ids, Draw: uint64(10*i + k), Most: 5 + k})
		}
	}
	stop, err := m.Stops()
	if err != nil {
		t.Fatal(err)
	}
	want, err := m.Answer(t.Context(), asks, s, stop, 256<<20)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(want[0].IDs[:5], want[1].IDs[:5]) {
		t.Error("two draws give one answer")
	}
	turned := slices.Clone(asks)
	slices.Reverse(turned)
	got, err := m.Answer(t.Context(), turned, s, stop, 1) // one at a time
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(got)
	if !reflect.DeepEqual(got, want) {
		t.Error("one at a time gives other answers")
	}
	var prompts, answers [][]int32
	for i, g := range want {
		if n := len(g.IDs); n != len(g.LogProbs) || n > asks[i].Most || g.Ended != slices.Contains(stop, g.IDs[n-1]) {
			t.Errorf("answer %d: %d tokens, %d log-probabilities, ended %v", i, n, len(g.LogProbs), g.Ended)
		}
		prompts, answers = append(prompts, asks[i].IDs), append(answers, g.IDs)
	}
	read, err := m.Likely(t.Context(), prompts, answers, 1, false, 256<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range read {
		for k, x := range read[i] {
			if math.Abs(float64(x-want[i].LogProbs[k])) > 1e-5 || len(read[i]) != len(answers[i]) {
				t.Errorf("answer %d, token %d: %g when it is read, %g when it was said", i, k, x, want[i].LogProbs[k])
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Answer(ctx, asks, s, stop, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := m.Answer(t.Context(), []Ask{{IDs: asks[0].IDs, Most: 5000}}, s, stop, 1); err == nil ||
		!strings.Contains(err.Error(), "positions") {
		t.Error(err)
	}
}
