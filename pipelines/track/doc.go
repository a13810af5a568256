// Package track reports a training to programs that show it: a file of JSON lines, and MLflow's tracking server, as transformers' report_to
// does. TensorBoard's files are package report's. A tracker never stops and never slows a training: it takes values and sends them on by
// itself.
package track

import (
	"math"

	"github.com/adaptflow/adaptflow/train"
)

// Row are the values of an optimiser step or an evaluation, by the names of Hugging Face Trainer with the parts train and eval.
type Row struct {
	Step   int
	Values map[string]float64
}

// Step is the row of an optimiser step. It has no times, so that the rows of a run are a function of its input and settings.
func Step(s *train.StepInfo) Row {
	r := Row{s.Step, map[string]float64{"train/loss": s.Loss, "train/learning_rate": s.LearningRate, "train/grad_norm": s.GradNorm}}
	return r.with("train/", s.Metrics)
}

// Eval is the row of an evaluation.
func Eval(e *train.Eval) Row {
	return Row{e.Step, map[string]float64{"eval/loss": e.Loss}}.with("eval/", e.Metrics)
}

// with adds an objective's own metrics, and leaves out what is not finite.
func (r Row) with(part string, metrics map[string]float64) Row {
	for name, v := range metrics {
		r.Values[part+name] = v
	}
	for name, v := range r.Values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			delete(r.Values, name)
		}
	}
	return r
}

// Rows are those of what a training has done so far, in the order of its steps.
func Rows(st *train.State) (out []Row) {
	evals := st.Evals
	for i := range st.History {
		out = append(out, Step(&st.History[i]))
		for len(evals) > 0 && evals[0].Step <= st.History[i].Step {
			out = append(out, Eval(&evals[0]))
			evals = evals[1:]
		}
	}
	return out
}
