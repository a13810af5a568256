package train

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// A round with several replicas. In sync mode a round is one optimiser step: each replica writes its gradient sums, which are added
// in replica order, clipped once, and applied by the one optimiser. In local mode (local SGD; DiLoCo, Douillard et al. 2023) each
// replica runs local_steps steps of its own optimiser from the round's start, and the outer optimiser, SGD with Nesterov momentum, follows
// the mean of what they moved. The files of a round lie in rounds/ beside the checkpoints, named by round and replica.

func (s *Session) roundDir(step int) string {
	return filepath.Join(s.job.Dir, "rounds", fmt.Sprintf("round-%06d", step))
}

// trained are the parameters that have a gradient.
func (s *Session) trained() (out []*nn.Param) {
	for _, q := range s.params.List() {
		if !q.Frozen {
			out = append(out, q)
		}
	}
	return out
}

func replicaFile(dir string, replica int) string {
	return filepath.Join(dir, fmt.Sprintf("replica-%03d.safetensors", replica))
}

// RoundSteps is the number of optimiser steps of one round that starts at step.
func (j *Job) RoundSteps(step, total int) int {
	if j.Args.Mode == "local" {
		return min(j.Args.LocalSteps, total-step)
	}
	return 1
}

// Replica runs one replica's share of the round that starts at step and returns the file it wrote.
func (s *Session) Replica(step, replica int) (string, error) {
	if err := s.atRound(step); err != nil {
		return "", err
	}
	path := replicaFile(s.roundDir(step), replica)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return "", err
	}
	if s.job.Args.Mode == "local" {
		return path, s.local(step, replica, path)
	}
	start := time.Now()
	sum, items, tokens, err := s.trainer.Gradients(s.data, replica)
	if err != nil {
		return "", s.lastGood(step, err)
	}
	var ts []safetensors.Tensor
	for _, q := range s.trained() {
		ts = append(ts, safetensors.F32(q.Name, q.Grad, len(q.Grad)))
	}
	return path, safetensors.Write(path, ts, map[string]string{"loss": strconv.FormatFloat(sum, 'g', -1, 64), "items": strconv.Itoa(items),
		"tokens": strconv.Itoa(tokens), "seconds": strconv.FormatFloat(time.Since(start).Seconds(), 'g', -1, 64)})
}

// local runs the inner steps of a replica. Its optimiser's state continues from its last round's file.
func (s *Session) local(step, replica int, path string) error {
	t := s.trainer
	s.at = -1 // the parameters move away from the round's start
	t.opt.Each(func(_ string, x []float32) { clear(x) })
	if step > 0 {
		f, err := safetensors.Open(replicaFile(s.roundDir(step-s.job.Args.LocalSteps), replica))
		if err != nil {
			return err
		}
		defer f.Close()
		t.opt.Each(func(name string, x []float32) {
			if err == nil {
				err = fill(f, "optimizer/"+name, x)
			}
		})
		if err != nil {
			return err
		}
	}
	t.opt.Step = step
	start := time.Now()
	sum, tokens, n := 0.0, 0, s.job.RoundSteps(step, t.Total)
	for range n {
		if interrupted.Load() {
			return ErrInterrupted
		}
		info, err := t.Step(s.data, replica)
		if err != nil {
			return s.lastGood(step, err)
		}
		sum += info.Loss
		tokens += info.Tokens
	}
	var ts []safetensors.Tensor
	for _, q := range s.trained() {
		ts = append(ts, safetensors.F32(q.Name, q.Data, len(q.Data)))
	}
	t.opt.Each(func(name string, x []float32) { ts = append(ts, safetensors.F32("optimizer/"+name, x, len(x))) })
	return safetensors.Write(path, ts, map[string]string{"loss": strconv.FormatFloat(sum/float64(n), 'g', -1, 64), "items": "1",
		"tokens": strconv.Itoa(tokens), "seconds": strconv.FormatFloat(time.Since(start).Seconds(), 'g', -1, 64)})
}

// Combine ends the round that started at step: it adds what the replicas wrote, in replica order, applies the optimiser once, and writes
// the state that the next round starts from. It returns the step at which that stands.
func (s *Session) Combine(step int) (int, error) {
	if err := s.atRound(step); err != nil {
		return 0, err
	}
	list := s.trained()
	s.params.ZeroGrad()
	local := s.job.Args.Mode == "local"
	var loss float64
	var items, tokens int
	var seconds float64
	for r := range s.job.Args.Replicas {
		f, err := safetensors.Open(replicaFile(s.roundDir(step), r))
		if err != nil {
			return 0, err
		}
		m := f.Metadata()
		l, err1 := strconv.ParseFloat(m["loss"], 64)
		n, err2 := strconv.Atoi(m["items"])
		k, err3 := strconv.Atoi(m["tokens"])
		sec, err4 := strconv.ParseFloat(m["seconds"], 64)
		if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
			f.Close()
			return 0, fmt.Errorf("%s: its metadata is damaged: %v", f.Path(), m)
		}
		loss, tokens, seconds = loss+l, tokens+k, seconds+sec
		if items = n; local {
			items = s.job.Args.Replicas
		}
		for _, q := range list {
			x, err := f.Float32(q.Name)
			if err != nil || len(x) != len(q.Grad) {
				f.Close()
				return 0, fmt.Errorf("%s: %q: %d values, want %d: %v", f.Path(), q.Name, len(x), len(q.Grad), err)
			}
			if local { // the gradient of the outer optimiser is what the replica moved, against the sign
				for i := range x {
					x[i] = (q.Data[i] - x[i]) / float32(s.job.Args.Replicas)
				}
			}
			kernels.AddTo(nil, q.Grad, x)
		}
		f.Close()
	}
	var info StepInfo
	var err error
	if local {
		info = s.outerStep(step, loss/float64(items), tokens)
	} else if info, err = s.trainer.Update(loss, items, tokens); err != nil {
		return 0, s.lastGood(step, err)
	}
	info.Seconds = seconds
	if err := s.note(info); err != nil {
		return 0, err
	}
	s.at = s.trainer.Done()
	if err := s.trainer.Save(filepath.Join(s.job.Dir, "rounds"), s.state); err != nil {
		return 0, err
	}
	if local {
		var ts []safetensors.Tensor
		for i, q := range list {
			ts = append(ts, safetensors.F32(q.Name, s.outer[i], len(s.outer[i])))
		}
		if err := safetensors.Write(filepath.Join(s.roundDir(s.at), "outer.safetensors"), ts, nil); err != nil {
			return 0, err
		}
	}
	return s.at, s.forget(step)
}

// outerStep is SGD with Nesterov momentum on the mean movement, as torch.optim.SGD(nesterov=True).
func (s *Session) outerStep(step int, loss float64, tokens int) StepInfo {
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
	return StepInfo{Step: s.trainer.opt.Step, Loss: loss, LearningRate: s.job.Args.OuterLearningRate, GradNorm: norm, Tokens: tokens}
}

// forget deletes the files of rounds that no retry and no resume from the last checkpoint can need.
func (s *Session) forget(step int) error {
	steps, err := Checkpoints(s.job.Dir)
	if err != nil {
		return err
	}
	oldest := 0
	if len(steps) > 0 {
		oldest = steps[len(steps)-1]
	}
	if s.job.Args.Mode == "local" {
		oldest -= s.job.Args.LocalSteps
	}
	root := filepath.Join(s.job.Dir, "rounds")
	es, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range es {
		var n int
		for _, form := range []string{"round-%d", "checkpoint-%d"} {
			if _, err := fmt.Sscanf(e.Name(), form, &n); err == nil && n < min(oldest, step) {
				if err := os.RemoveAll(filepath.Join(root, e.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// atRound brings the session to the start of a round: where it stands, a checkpoint, or the state that the round before wrote.
func (s *Session) atRound(step int) error {
	if s.at == step && s.state != nil && s.trainer.Done() == step {
		return nil
	}
	s.state = nil
	dir := s.job.Dir
	if step > 0 {
		if _, err := os.Stat(filepath.Join(CheckpointDir(dir, step), stateFile)); err != nil {
			dir = filepath.Join(dir, "rounds")
		}
	}
	if err := s.At(dir, step); err != nil {
		return err
	}
	s.outer = s.outer[:0]
	for _, q := range s.trained() {
		s.outer = append(s.outer, make([]float32, len(q.Data)))
	}
	if step > 0 && s.job.Args.Mode == "local" {
		f, err := safetensors.Open(filepath.Join(s.roundDir(step), "outer.safetensors"))
		if err != nil {
			return err
		}
		defer f.Close()
		for i, q := range s.trained() {
			if err := fill(f, q.Name, s.outer[i]); err != nil {
				return err
			}
		}
	}
	s.at = step
	return nil
}

// Checkpoint writes the state after a round as a checkpoint of the run.
func (s *Session) Checkpoint(step int) error {
	if err := s.atRound(step); err != nil {
		return err
	}
	return s.Save()
}
