package train

import (
	"fmt"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// Combine ends the round that started at step: it adds what the replicas sent, in replica order, applies the optimiser once, and writes
// the state that the next round starts from. It returns the step at which that stands.
func (s *Session) Combine(step int, refs []Ref) (int, error) {
	if err := s.atRound(step); err != nil {
		return 0, err
	}
	refs, err := s.decide(step, refs)
	if err != nil {
		return 0, err
	}
	s.params.ZeroGrad()
	whole, err := s.sum(refs, 0, s.trained())
	if err != nil {
		return 0, err
	}
	var info StepInfo
	if s.job.Args.Mode == "local" {
		info = s.outerStep(step, whole)
	} else if info, err = s.trainer.step(whole); err != nil {
		return 0, s.lastGood(step, err)
	}
	s.at = -1 // until the state is written
	if err := s.end(info, refs); err != nil {
		return 0, err
	}
	return s.at, s.forget(step)
}

// sum adds what the replicas sent of a part, the parameters of list, to their gradients: in mode local a replica's part of the mean, in
// mode sync the gradient sums, scaled to the whole step's where replicas were dropped. It returns what they did together.
func (s *Session) sum(refs []Ref, part int, list []*nn.Param) (tally, error) {
	var whole tally
	local := s.job.Args.Mode == "local"
	x := make([]float32, 0)
	for _, ref := range refs {
		f, sh, err := s.readUpdate(ref, part)
		if err != nil {
			return whole, err
		}
		whole.loss, whole.own, whole.tokens, whole.items = whole.loss+sh.loss, whole.own+sh.own, whole.tokens+sh.tokens, sh.items
		whole.metrics.add(sh.metrics)
		for _, q := range list {
			if x, err = s.decode(f, q, x); err != nil {
				f.Close()
				return whole, err
			}
			if local {
				for i := range x {
					x[i] /= float32(len(refs))
				}
			}
			kernels.AddTo(nil, q.Grad, x)
		}
		f.Close()
	}
	if local {
		whole.loss /= float64(len(refs))
	} else if len(refs) < s.job.Args.Replicas {
		for _, q := range list {
			kernels.Scale(nil, float32(float64(whole.items)/float64(max(whole.own, 1))), q.Grad)
		}
		whole.items = whole.own
	}
	return whole, nil
}

func (s *Session) decode(f *safetensors.File, q *nn.Param, x []float32) ([]float32, error) {
	if cap(x) < len(q.Data) {
		x = make([]float32, len(q.Data))
	}
	x = x[:len(q.Data)]
	b, err := f.Bytes(q.Name)
	if err != nil {
		return x, err
	}
	if err := s.codec.decode(s.codec.o, b, x); err != nil {
		return x, fmt.Errorf("%s: %s: %w: the round has to be run again", f.Path(), q.Name, err)
	}
	return x, nil
}

// end notes a round and writes the state after it. The session stands there then.
func (s *Session) end(info StepInfo, refs []Ref) error {
	for _, r := range refs {
		info.Seconds += r.Seconds
		for _, u := range r.Updates {
			info.BytesSent += u.Bytes
		}
		s.state.Kept[r.Replica] = r.Kept
		if s.job.Args.DropLateAfter > 0 || s.job.Contributors != nil {
			info.Contributors = append(info.Contributors, r.Replica)
		}
	}
	for _, q := range s.params.List() {
		info.BytesReceived += 4 * int64(len(q.Data)) * int64(s.job.Args.Replicas)
	}
	if err := s.note(info); err != nil {
		return err
	}
	if err := s.saveRound(); err != nil {
		return err
	}
	s.at = s.trainer.Done()
	return nil
}

// outerStep is SGD with Nesterov momentum on the mean movement, as torch.optim.SGD(nesterov=True).
func (s *Session) outerStep(step int, whole tally) StepInfo {
	defer computing()()
	lr, mu := float32(s.job.Args.OuterLearningRate), float32(s.job.Args.OuterMomentum)
	norm, _ := ClipGradNorm(s.params, 0)
	for k, q := range s.trained() {
		v := s.outer[k]
		for i, g := range q.Grad {
			v[i] = float32(mu*v[i]) + g
			q.Data[i] -= float32(lr * (g + float32(mu*v[i])))
		}
	}
	s.trainer.opt.Step = step + s.job.RoundSteps(step, s.trainer.Total)
	return StepInfo{Step: s.trainer.opt.Step, Loss: whole.loss, LearningRate: s.job.Args.OuterLearningRate, GradNorm: norm,
		Tokens: whole.tokens, Metrics: s.trainer.goal.means(whole.metrics)}
}
