package train

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

// Teachers are the models from which a training distils (Hinton et al. 2015; TRL's GKD with beta 0, lmbda 0 and temperature 1): what a
// supervised row should predict is alpha times the mean of the teachers' distributions over the next token plus 1-alpha times its label,
// and the loss is the cross entropy with that, the least of which is the entropy of what should be predicted. The mean of several models is
// their ensemble. Rows of virtual tokens keep their labels.
type Teachers struct {
	alpha    float32
	vocab    int // of the student
	rows     int // tokens of a step, at most
	pass     int // tokens of a pass through a teacher, at most
	pool     *pool.Pool
	teachers []teacher
	target   *mem.Block // [rows, vocab], from the first step on
}

type teacher struct {
	dir   string
	held  *Held
	model *model.Model
	prog  *nn.Program
}

// teacherRows and teacherLogits bound the tokens of one pass through a teacher, whose logits, so many bytes, are all kept; a document that
// is longer makes it longer.
const (
	teacherRows   = 1024
	teacherLogits = 64 << 20
)

// OpenTeachers opens the models of the folders dirs, each with its weights stored as dtype, for steps of at most rows tokens, whose
// documents have at most length. student is the model that learns. The tokenizers must give the same ids to tokens; vocabularies may be
// padded to other sizes: of a teacher the tokens that the student has share its distribution.
func OpenTeachers(student *model.Model, dirs []string, alpha float64, dtype string, p *pool.Pool, rows,
	length int) (_ *Teachers, err error) {
	if student.Config.Task != "CAUSAL_LM" {
		return nil, fmt.Errorf("a classifier learns from no teachers")
	}
	t := &Teachers{alpha: float32(alpha), vocab: student.Config.Vocab, rows: rows, pool: p}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	t.pass = min(rows, max(length, min(teacherRows, teacherLogits/4/t.vocab)))
	for _, dir := range dirs {
		h, err := Hold(dir, dtype, model.Task{})
		if err != nil {
			return nil, fmt.Errorf("the teacher: %w", err)
		}
		m := h.Model
		t.teachers = append(t.teachers, teacher{dir: dir, held: h, model: m})
		if err := CheckTeacher(&m.Config, length); err != nil {
			return nil, fmt.Errorf("the teacher %s %w", dir, err)
		}
		prog, err := nn.Compile(m, nil, nn.NewParams(1),
			nn.Options{Mode: nn.ModeLogits, Caps: nn.Caps{T: t.pass, S: t.pass, N: t.pass}, Pool: p})
		if err != nil {
			return nil, fmt.Errorf("the teacher %s: %w", dir, err)
		}
		t.teachers[len(t.teachers)-1].prog = prog
	}
	return t, nil
}

// CheckTeacher says why a model of this configuration cannot teach on sequences of a length, nil where it can.
func CheckTeacher(c *model.Config, length int) error {
	if c.Task != "CAUSAL_LM" {
		return fmt.Errorf("is a classifier: a teacher is a language model")
	}
	if length > c.MaxPositions {
		return fmt.Errorf("has %d positions: choose a sequence_length of at most that, not %d", c.MaxPositions, length)
	}
	return nil
}

// WeightBytes is the memory of the teachers' weights. Weights that the student has too count with it.
func (t *Teachers) WeightBytes(student *model.Model) (n int64) {
	if t == nil {
		return 0
	}
	seen := map[*model.Model]bool{student: true}
	for _, x := range t.teachers {
		if !seen[x.model] {
			seen[x.model] = true
			n += x.model.Resident()
		}
	}
	return n
}

// WorkBytes is the memory of the teachers' programs and of what a step's tokens should predict.
func (t *Teachers) WorkBytes() int64 {
	if t == nil {
		return 0
	}
	n := int64(t.rows) * int64(t.vocab) * 4
	for _, x := range t.teachers {
		n += x.prog.Memory().Total()
	}
	return n
}

// FLOPs is about how many floating-point operations the teachers take a token of sequences of the given length.
func (t *Teachers) FLOPs(sequence int) (n float64) {
	if t == nil {
		return 0
	}
	for _, x := range t.teachers {
		n += ForwardFLOPs(x.model, sequence)
	}
	return n
}

// Streamed is what a step reads of weights of teachers that are streamed.
func (t *Teachers) Streamed() (n int64) {
	if t == nil {
		return 0
	}
	for _, x := range t.teachers {
		n += x.model.Streamed() * int64((t.rows+t.pass-1)/t.pass)
	}
	return n
}

// Teach sets the step's targets. They are valid until the next call. An error is a teacher whose logits are not finite.
func (t *Teachers) Teach(s *nn.Step) (err error) {
	defer mem.Catch(&err, "lower batch_size or sequence_length")
	if t.target == nil {
		t.target = mem.AllocFloat32(t.rows * t.vocab)
	}
	v := t.vocab
	target := t.target.Float32()[:len(s.Rows)*v]
	clear(target)
	for i, l := range s.Labels {
		target[i*v+int(l)] = 1 - t.alpha
	}
	share := t.alpha / float32(len(t.teachers))
	sums := make([]float32, t.pass)
	for _, x := range t.teachers {
		row, width := 0, x.model.Config.Vocab
		common := min(width, v)
		for _, part := range x.prog.Parts(&nn.Step{Tokens: s.Tokens, Positions: s.Positions, Docs: s.Docs, Rows: s.Rows}) {
			if len(part.Rows) == 0 {
				continue
			}
			logits := x.prog.Forward(part, false)
			t.pool.Run(len(part.Rows), func(i int) {
				p := logits[i*width:][:common]
				_, sums[i] = kernels.ExpRow(p, float32(math.Inf(-1)))
				kernels.Axpy(nil, share/sums[i], p, target[(row+i)*v:][:common])
			})
			if kernels.NonFinite(sums[:len(part.Rows)]) >= 0 {
				return fmt.Errorf("the teacher %s gives logits that are not finite", x.dir)
			}
			row += len(part.Rows)
		}
	}
	s.Targets = target
	return nil
}

// Close frees the teachers' programs, and the weights that no one else holds.
func (t *Teachers) Close() {
	if t == nil {
		return
	}
	for _, x := range t.teachers {
		if x.prog != nil {
			x.prog.Close()
		}
		_ = x.held.Release() // files that were only read
	}
	t.target.Free()
	t.teachers, t.target = nil, nil
}
