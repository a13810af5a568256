package train

import "github.com/adaptflow/adaptflow/model"

// Distil is the objective of learning from teachers: the cross entropy with the mean of their distributions and the label. See [Teachers].
// Evaluations are by the labels alone.
type Distil struct {
	Teachers *Teachers `json:"-"`
}

// distils says whether a job learns from teachers.
func distils(j *Job, _ *model.Model) bool { return len(j.Teachers) > 0 }

// Spec implements [Objective].
func (d *Distil) Spec() Spec { return Spec{Alone: true} }

// Loss implements [Objective].
func (d *Distil) Loss(b *Batch, items int, coef []float32) float64 { return NLL(b.LogP, items, coef) }

// Prepare implements [Preparer]: it asks the teachers.
func (d *Distil) Prepare(b *Batch, p *Pass) error {
	if !p.Training {
		return nil
	}
	return d.Teachers.Teach(b.Step)
}

// Open implements [Opener].
func (d *Distil) Open(e *Env) (err error) {
	j := e.Job
	rows := j.Args.PerDeviceTrainBatchSize * j.SequenceLength
	d.Teachers, err = OpenTeachers(e.Model, j.Teachers, j.DistillationAlpha, j.DType, e.Pool, rows, j.SequenceLength)
	return err
}

// Close implements [Opener].
func (d *Distil) Close() { d.Teachers.Close() }

// Cost implements [Opener].
func (d *Distil) Cost(student *model.Model, length int) Cost {
	t := d.Teachers
	return Cost{Weights: t.WeightBytes(student), Work: t.WorkBytes(), Streamed: t.Streamed(), FLOPs: t.FLOPs(length),
		Who: "teachers", What: "their passes and what a batch's tokens should predict"}
}
