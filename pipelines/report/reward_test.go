package report

import (
	"bytes"
	"testing"

	"github.com/adaptflow/adaptflow/train"
)

// TestRewardCurve: the report and the events of a run that was rewarded show how, and those of others do not.
func TestRewardCurve(t *testing.T) {
	m := &Metrics{}
	m.Train.Loss, m.Train.LearningRate = []float64{1, 2}, []float64{1, 2}
	st := &train.State{History: []train.StepInfo{{Step: 1, Loss: 1}}}
	title, tag := []byte("reward of the answers"), []byte("train/completions/mean_length")
	for _, want := range []bool{false, true} {
		page, err := HTML(m)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(page, title) != want || bytes.Contains(Events(m, st), tag) != want {
			t.Errorf("rewarded %v: the page or the events say otherwise", want)
		}
		m.Train.Metrics = map[string][]float64{"reward": {0.25, 0.5}}
		st.History[0].Metrics = map[string]float64{"completions/mean_length": 4}
	}
}
