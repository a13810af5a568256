package train

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/adaptflow/adaptflow/internal/safetensors"
)

// Replica runs one replica's share of the round that starts at step and returns the reference to what it wrote.
func (s *Session) Replica(step, replica int) (Ref, error) {
	start := time.Now()
	if err := s.atRound(step); err != nil {
		return Ref{}, err
	}
	decided, ok, err := s.contributors(step)
	if err != nil {
		return Ref{}, err
	}
	if ok && !slices.Contains(decided, replica) {
		return Ref{Replica: replica, Late: true}, nil
	}
	local := s.job.Args.Mode == "local"
	s.late = func() bool {
		limit := s.job.Args.DropLateAfter
		return !ok && limit > 0 && time.Since(start).Seconds() > limit
	}
	rest, err := s.keptState(replica)
	if err != nil {
		return Ref{}, err
	}
	list := s.trained()
	send := make([][]float32, len(list))
	var sh tally
	if local {
		for i, q := range list {
			send[i] = slices.Clone(q.Data)
		}
		sh, err = s.inner(step, replica)
		for i, q := range list { // the gradient of the outer optimiser is what the replica moved, against the sign
			for k, v := range q.Data {
				send[i][k] -= v
			}
		}
	} else {
		sh, err = s.gradients(replica)
		for i, q := range list {
			send[i] = q.Grad
		}
	}
	if err == errLate {
		return Ref{Replica: replica, Late: true}, nil
	}
	if err != nil {
		return Ref{}, s.lastGood(step, err)
	}
	ref := Ref{Replica: replica, Silent: !local && sh.own == 0}
	if ref.Updates, err = s.writeUpdates(step, replica, sh, send, rest); err != nil {
		return Ref{}, s.lastGood(step, err)
	}
	if ref.Kept, err = s.writeKept(filepath.Join(roundPath(step), keptName(replica)), rest); err != nil {
		return Ref{}, err
	}
	ref.Seconds = time.Since(start).Seconds()
	return ref, nil
}

// gradients computes the gradient sums of a replica's share of a sync step.
func (s *Session) gradients(replica int) (tally, error) {
	data, err := s.learning(s.trainer.Done())
	if err != nil {
		return tally{}, err
	}
	return s.trainer.gradients(data, replica, s.late)
}

// inner runs the inner steps of a replica.
func (s *Session) inner(step, replica int) (tally, error) {
	s.at = -1 // the parameters move away from the round's start
	t := s.trainer
	t.opt.Step = step
	var sh tally
	n := s.job.RoundSteps(step, t.Total)
	for range n {
		if Interrupted(s.job.Dir) {
			return sh, ErrInterrupted
		}
		if s.late() {
			return sh, errLate
		}
		info, sum, err := t.advance(s.data, replica)
		if err != nil {
			return sh, err
		}
		sh.metrics.add(sum.metrics)
		sh.loss += info.Loss / float64(n)
		sh.tokens += info.Tokens
	}
	return sh, nil
}

// keptState reads what a replica kept of its last round: its inner optimiser's state, into the trainer, and what compression lost, which it
// returns; nil where nothing is lost.
func (s *Session) keptState(replica int) (rest [][]float32, err error) {
	local, lossy := s.job.Args.Mode == "local", s.codec.lossy()
	if lossy {
		for _, q := range s.trained() {
			rest = append(rest, make([]float32, len(q.Data)))
		}
	}
	if local {
		s.trainer.opt.Each(func(_ string, x []float32) { clear(x) })
	}
	ref := s.state.Kept[replica]
	if ref.Path == "" {
		return rest, nil
	}
	f, err := s.open(ref)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	get := func(name string, x []float32) {
		if err == nil {
			err = fill(f, name, x)
		}
	}
	if local {
		s.trainer.opt.Each(func(name string, x []float32) { get("optimizer/"+name, x) })
	}
	for i := range rest {
		get("rest/"+s.trained()[i].Name, rest[i])
	}
	return rest, err
}

// writeUpdates writes what a replica sends: of each trained parameter send, with rest, which then holds what compression lost of it. There
// is a file for each shard of the optimiser's state, or one.
func (s *Session) writeUpdates(step, replica int, sh tally, send, rest [][]float32) (refs []FileRef, err error) {
	of := map[string]safetensors.Tensor{}
	for i, q := range s.trained() {
		var r []float32
		if rest != nil {
			r = rest[i]
		}
		b, err := s.codec.feed(q.Name, send[i], r)
		if err != nil {
			return nil, err
		}
		n := len(b)
		if s.codec.dtype == "F32" {
			n = len(send[i])
		}
		of[q.Name] = safetensors.Tensor{Name: q.Name, DType: s.codec.dtype, Shape: []int{n}, Raw: b}
	}
	parts, err := s.parts()
	if err != nil {
		return nil, err
	}
	for k, list := range parts {
		var ts []safetensors.Tensor
		for _, q := range list {
			ts = append(ts, of[q.Name])
		}
		path := filepath.Join(roundPath(step), fmt.Sprintf("update-%03d-%03d.safetensors", replica, k))
		err := safetensors.WriteUnsynced(filepath.Join(s.job.Dir, path), ts, updateMeta(s.codec.name, sh))
		if err != nil {
			return nil, err
		}
		ref, err := s.refer(path)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// updateMeta is the metadata of an update. Numbers have a fixed width, so that the length of the file is known before: see [FilesOf].
func updateMeta(compression string, sh tally) map[string]string {
	m := map[string]string{"compression": compression, "loss": fmt.Sprintf("%+.16e", sh.loss), "items": fmt.Sprintf("%012d", sh.items),
		"own": fmt.Sprintf("%012d", sh.own), "tokens": fmt.Sprintf("%012d", sh.tokens)}
	if sh.metrics != nil {
		m["metrics"] = sh.metrics.encode()
	}
	return m
}

// writeKept writes what a replica keeps for its next round; there may be nothing.
func (s *Session) writeKept(path string, rest [][]float32) (FileRef, error) {
	var ts []safetensors.Tensor
	if s.job.Args.Mode == "local" {
		s.trainer.opt.Each(func(name string, x []float32) { ts = append(ts, safetensors.F32("optimizer/"+name, x, len(x))) })
	}
	for i := range rest {
		ts = append(ts, safetensors.F32("rest/"+s.trained()[i].Name, rest[i], len(rest[i])))
	}
	if ts == nil {
		return FileRef{}, nil
	}
	if err := safetensors.WriteUnsynced(filepath.Join(s.job.Dir, path), ts, nil); err != nil {
		return FileRef{}, err
	}
	return s.refer(path)
}

// readUpdate opens what a replica sent of a part of the parameters.
func (s *Session) readUpdate(ref Ref, part int) (*safetensors.File, tally, error) {
	if part >= len(ref.Updates) {
		return nil, tally{}, fmt.Errorf("replica %d wrote %d parts, and part %d is asked for: the number of shards has changed, run the "+
			"round again", ref.Replica, len(ref.Updates), part)
	}
	f, err := s.open(ref.Updates[part])
	if err != nil {
		return nil, tally{}, err
	}
	m := f.Metadata()
	var sh tally
	var err1, err2, err3, err4, err5 error
	sh.loss, err1 = strconv.ParseFloat(m["loss"], 64)
	sh.items, err2 = strconv.Atoi(m["items"])
	sh.own, err3 = strconv.Atoi(m["own"])
	sh.tokens, err4 = strconv.Atoi(m["tokens"])
	sh.metrics, err5 = decodeMetrics(m["metrics"])
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil || m["compression"] != s.codec.name {
		f.Close()
		return nil, tally{}, fmt.Errorf("%s: its metadata is damaged: %v", f.Path(), m)
	}
	return f, sh, nil
}
