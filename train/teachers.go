package train

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

// Teachers are the models from which a training distils (Hinton et al. 2015; TRL's GKD with beta 0, lmbda 0 and temperature 1): what a supervised row should predict is
// alpha times the mean of the teachers' distributions over the next token plus 1-alpha times its label, and the loss is the cross entropy with that. The mean of several
// models is their ensemble. Rows of virtual tokens keep their labels.
type Teachers struct {
	alpha  float32
	vocab  int
	pool   *pool.Pool
	progs  []*nn.Program
	held   []*model.Model
	target []float32 // [S, V]
}

// teacherRows is the number of tokens of one pass through a teacher, whose logits are all kept; a document that is longer makes it longer.
const teacherRows = 1024

// OpenTeachers opens the job's teachers, nil where it has none.
func (j *Job) OpenTeachers(student *model.Model, p *pool.Pool) (*Teachers, error) {
	if len(j.Teachers) == 0 {
		return nil, nil
	}
	return OpenTeachers(student, j.Teachers, j.DistillationAlpha, j.DType, p, j.Args.PerDeviceTrainBatchSize*j.SequenceLength, j.SequenceLength)
}

// OpenTeachers opens the models of the folders dirs, each with its weights stored as dtype, for steps of at most rows tokens, whose documents have at most
// length. student is the model that learns: the vocabularies must be of one size.
func OpenTeachers(student *model.Model, dirs []string, alpha float64, dtype string, p *pool.Pool, rows, length int) (_ *Teachers, err error) {
	t := &Teachers{alpha: float32(alpha), vocab: student.Config.Vocab, pool: p}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	n := min(rows, max(teacherRows, length))
	for _, dir := range dirs {
		m, err := Base(dir, dtype)
		if err != nil {
			return nil, fmt.Errorf("the teacher: %w", err)
		}
		if m.Config.Task != "CAUSAL_LM" {
			return nil, fmt.Errorf("the teacher %s is a classifier: a teacher is a language model", dir)
		}
		if m.Config.Vocab != t.vocab {
			return nil, fmt.Errorf("the teacher %s has a vocabulary of %d and the model that learns one of %d: a teacher must have the same tokenizer", dir, m.Config.Vocab, t.vocab)
		}
		if length > m.Config.MaxPositions {
			return nil, fmt.Errorf("the teacher %s has %d positions: prepare sequences of at most that, not of %d", dir, m.Config.MaxPositions, length)
		}
		prog, err := nn.Compile(m, nil, nn.NewParams(1), nn.Options{Mode: nn.ModeLogits, Caps: nn.Caps{T: n, S: n, N: n}, Pool: p})
		if err != nil {
			return nil, fmt.Errorf("the teacher %s: %w", dir, err)
		}
		t.progs, t.held = append(t.progs, prog), append(t.held, m)
	}
	t.target = make([]float32, rows*t.vocab)
	return t, nil
}

// Bytes is the memory that the teachers take: weights, programs and targets. Weights that the student has too count once, with it.
func (t *Teachers) Bytes(student *model.Model) int64 {
	if t == nil {
		return 0
	}
	n, seen := int64(len(t.target))*4, map[*model.Model]bool{student: true}
	for i, p := range t.progs {
		n += p.Memory().Total()
		if m := t.held[i]; !seen[m] {
			seen[m] = true
			n += m.Resident()
		}
	}
	return n
}

// Teach sets the step's targets. They are valid until the next call.
func (t *Teachers) Teach(s *nn.Step) {
	v := t.vocab
	target := t.target[:len(s.Rows)*v]
	clear(target)
	for i, l := range s.Labels {
		target[i*v+int(l)] = 1 - t.alpha
	}
	share := t.alpha / float32(len(t.progs))
	for _, p := range t.progs {
		row := 0
		for _, part := range p.Parts(&nn.Step{Tokens: s.Tokens, Positions: s.Positions, Docs: s.Docs, Rows: s.Rows}) {
			if len(part.Rows) == 0 {
				continue
			}
			logits := p.Forward(part, false)
			t.pool.Run(len(part.Rows), func(i int) {
				x := logits[i*v : (i+1)*v]
				_, sum := kernels.ExpRow(x, float32(math.Inf(-1)))
				kernels.Axpy(nil, share/sum, x, target[(row+i)*v:(row+i+1)*v])
			})
			row += len(part.Rows)
		}
	}
	s.Targets = target
}

// Close frees the teachers' programs. The weights stay for others of the process.
func (t *Teachers) Close() {
	if t == nil {
		return
	}
	for _, p := range t.progs {
		p.Close()
	}
	t.progs, t.target = nil, nil
}
