package train

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/nn"
)

// A round with several replicas. In sync mode a round is one optimiser step: each replica writes its gradient sums, which are added
// in replica order, clipped once, and applied by the one optimiser. In local mode (local SGD; DiLoCo, Douillard et al. 2023) each
// replica runs local_steps steps of its own optimiser from the round's start, and the outer optimiser, SGD with Nesterov momentum, follows
// the mean of what they moved.
//
// The files of the round that starts at step N lie in rounds/round-N beside the checkpoints: the state it starts from, and of each replica
// what it sends and what it keeps for its next round. Only the state is waited for to reach the disk: the others are made again from it.

// Ref refers to what a replica wrote in a round. It travels through the pipeline in place of the tensors.
type Ref struct {
	Replica int `json:"replica"`
	// Updates are what it sends: gradient sums, or what it moved; a file for each shard of the optimiser's state, or one.
	Updates []FileRef `json:"updates"`
	Kept    FileRef   `json:"kept"`             // what it keeps: its inner optimiser, what compression lost; no path where there is nothing
	Late    bool      `json:"late,omitempty"`   // it wrote nothing, because it was late
	Silent  bool      `json:"silent,omitempty"` // no token of its share of a sync step had a loss
	Seconds float64   `json:"seconds"`
}

// FileRef refers to a file of a run. Path is relative to the folder of the checkpoints.
type FileRef struct {
	Path   string `json:"path,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
}

// The files of a round's folder beside those of replicas.
const (
	roundFile  = "state.safetensors"
	roundsDir  = "rounds"
	keptPrefix = "kept-"
)

func roundPath(step int) string { return filepath.Join(roundsDir, fmt.Sprintf("round-%06d", step)) }

func keptName(replica int) string { return fmt.Sprintf("%s%03d.safetensors", keptPrefix, replica) }

// refer makes the reference to a file that was just written.
func (s *Session) refer(path string) (FileRef, error) {
	full := filepath.Join(s.job.Dir, path)
	sum, err := storage.SHA256File(full)
	if err != nil {
		return FileRef{}, err
	}
	info, err := os.Stat(full)
	if err != nil {
		return FileRef{}, err
	}
	return FileRef{path, sum, info.Size()}, s.job.up(path)
}

// open opens a file of the run and compares its checksum with the reference's.
func (s *Session) open(r FileRef) (*safetensors.File, error) {
	full := filepath.Join(s.job.Dir, r.Path)
	if err := s.job.down(r.Path, r.SHA256); err != nil {
		return nil, err
	}
	sum, err := storage.SHA256File(full)
	if err != nil {
		return nil, err
	}
	if sum != r.SHA256 {
		return nil, fmt.Errorf("%s: its checksum is not the one it was written with: the round has to be run again", full)
	}
	return safetensors.Open(full)
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

// RoundSteps is the number of optimiser steps of one round that starts at step.
func (j *Job) RoundSteps(step, total int) int {
	if j.Args.Mode == "local" {
		return min(j.Args.LocalSteps, total-step)
	}
	return 1
}

// atRound brings the session to the start of a round: where it stands, a checkpoint, or the state that the round before wrote.
func (s *Session) atRound(step int) error {
	checkpoint := step == 0
	if !checkpoint {
		var err error
		if checkpoint, err = s.job.has(filepath.Join(filepath.Base(CheckpointDir("", step)), stateFile)); err != nil {
			return err
		}
	}
	// At a checkpoint what replicas keep has been copied, and the files it was copied from will go.
	if s.at == step && s.state != nil && s.trainer.Done() == step && (!checkpoint || s.saved == step) {
		return nil
	}
	s.state, s.at = nil, -1
	var err error
	if checkpoint {
		s.saved = step
		err = s.AtStep(step)
	} else {
		err = s.loadRound(step)
	}
	if err != nil {
		return err
	}
	if s.state.Kept == nil {
		s.state.Kept = make([]FileRef, s.job.Args.Replicas)
	}
	if n := len(s.state.Kept); n != s.job.Args.Replicas {
		return fmt.Errorf("the state of step %d is of %d replicas, and the job has %d", step, n, s.job.Args.Replicas)
	}
	s.at = step
	return nil
}

// tensors are the state of a round: the parameters, the optimiser (in mode local the outer one's momentum), and the method's own.
func (s *Session) tensors() (ts []safetensors.Tensor, err error) {
	list := s.params.List()
	if s.state.Shards != nil {
		list = frozenOf(s.params) // the others are in the shards' files
	}
	for _, q := range list {
		ts = append(ts, safetensors.F32("param/"+q.Name, q.Data, q.Slots, q.Rows, q.Cols))
	}
	s.optimizerState(func(name string, x []float32) { ts = append(ts, safetensors.F32("optimizer/"+name, x, len(x))) })
	for _, m := range s.trainer.steppers {
		raw, err := m.State()
		if err != nil {
			return nil, err
		}
		ts = append(ts, safetensors.Tensor{Name: methodFile, DType: "U8", Shape: []int{len(raw)}, Raw: raw})
	}
	return ts, nil
}

// rounds says whether the job trains in rounds of several replicas.
func (j *Job) rounds() bool { return j.Args.Replicas > 1 }

// optimizerState calls f for each array of the state of the optimiser that the job has one of.
func (s *Session) optimizerState(f func(name string, x []float32)) {
	if s.job.Args.Mode == "local" && s.job.rounds() {
		for i, q := range s.trained() {
			f(q.Name+"/outer_momentum", s.outer[i])
		}
		return
	}
	s.trainer.opt.Each(f)
	s.trainer.goal.ref.state(f)
}

// saveRound writes the state that the round from the step at which the session stands starts from: one file, durable.
func (s *Session) saveRound() error {
	if err := s.finite(); err != nil {
		return err
	}
	ts, err := s.tensors()
	if err != nil {
		return err
	}
	st := *s.state
	st.Step, st.Total, st.Base = s.trainer.Done(), s.trainer.Total, s.saved
	st.Files = nil // a checkpoint's
	// The log up to the last checkpoint is there.
	for len(st.History) > 0 && st.History[0].Step <= s.saved {
		st.History = st.History[1:]
	}
	raw, err := st.encode(func(v any) ([]byte, error) { return storage.MarshalJSON(v, "") })
	if err != nil {
		return err
	}
	rel := filepath.Join(roundPath(st.Step), roundFile)
	if err := safetensors.Write(filepath.Join(s.job.Dir, rel), ts,
		map[string]string{"state": string(raw), "sha256": tensorSum(ts)}); err != nil {
		return err
	}
	return s.job.up(rel)
}

// tensorSum is the SHA-256 of tensors, their names and values, by name.
func tensorSum(ts []safetensors.Tensor) string {
	ts = slices.Clone(ts)
	slices.SortFunc(ts, func(a, b safetensors.Tensor) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	h := sha256.New()
	for _, t := range ts {
		io.WriteString(h, t.Name+"\x00")
		if t.Raw != nil {
			h.Write(t.Raw)
		} else {
			h.Write(encodeFloats(nil, t.Data))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (s *Session) loadRound(step int) error {
	rel := filepath.Join(roundPath(step), roundFile)
	if err := s.job.down(rel, ""); err != nil {
		return err
	}
	f, err := safetensors.Open(filepath.Join(s.job.Dir, rel))
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := decodeState([]byte(f.Metadata()["state"]))
	if err == nil && st.Step != step {
		err = fmt.Errorf("it is of step %d", st.Step)
	}
	if err != nil {
		return fmt.Errorf("%s: its state: %w: delete the file to go on from the last checkpoint", f.Path(), err)
	}
	if st.Binding != s.binding {
		return fmt.Errorf("%s was written by a run with other settings, data, base model or kernel set: choose another output folder",
			f.Path())
	}
	var ts []safetensors.Tensor
	for _, name := range f.Names() {
		t := safetensors.Copy(f, name)
		if t, err = t.Load(); err != nil {
			return err
		}
		ts = append(ts, t)
	}
	if tensorSum(ts) != f.Metadata()["sha256"] {
		return fmt.Errorf("%s: its values are not those it was written with: delete the file to go on from the last checkpoint", f.Path())
	}
	get := func(name string, x []float32) {
		if err == nil {
			err = fill(f, name, x)
		}
	}
	list := s.params.List()
	if st.Shards != nil {
		list = frozenOf(s.params)
	}
	for _, q := range list {
		get("param/"+q.Name, q.Data)
	}
	s.optimizerState(func(name string, x []float32) { get("optimizer/"+name, x) })
	if err != nil {
		return err
	}
	for _, m := range s.trainer.steppers {
		raw, err := f.Bytes(methodFile)
		if err != nil {
			return err
		}
		if err := m.SetState(raw); err != nil {
			return fmt.Errorf("%s: %w", f.Path(), err)
		}
	}
	if st.Base > 0 {
		if err := s.job.down(filepath.Join(filepath.Base(CheckpointDir("", st.Base)), stateFile), ""); err != nil {
			return err
		}
		base, err := readStateFile(CheckpointDir(s.job.Dir, st.Base))
		if err != nil {
			return err
		}
		st.History = append(base.History, st.History...)
	}
	s.trainer.opt.Step, s.saved, s.state = step, st.Base, st
	return s.loadShards()
}

// Checkpoint writes the state after a round as a checkpoint of the run, with what the replicas keep.
func (s *Session) Checkpoint(step int) error {
	if err := s.atRound(step); err != nil {
		return err
	}
	if s.saved == step && step > 0 {
		return nil // it is there
	}
	dir := filepath.Base(CheckpointDir("", step))
	kept := make([]FileRef, len(s.state.Kept))
	for r, old := range s.state.Kept {
		if old.Path == "" {
			continue
		}
		f, err := s.open(old)
		if err != nil {
			return err
		}
		f.Close()
		kept[r] = FileRef{filepath.Join(dir, keptName(r)), old.SHA256, old.Bytes}
		if err := storage.CopyFile(filepath.Join(s.job.Dir, kept[r].Path), f.Path()); err != nil {
			return err
		}
	}
	s.state.Kept = kept
	if err := s.Save(); err != nil {
		return err
	}
	s.saved = step
	return nil
}

// forget deletes the files of rounds that no retry and no resume from the last checkpoint can need.
func (s *Session) forget(step int) error {
	steps, err := s.job.Checkpoints()
	if err != nil || len(steps) == 0 {
		return err
	}
	if err := s.job.forget(min(steps[len(steps)-1], step)); err != nil {
		return err
	}
	root := filepath.Join(s.job.Dir, roundsDir)
	es, err := os.ReadDir(root)
	if err != nil && !(s.job.Location != "" && errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	for _, e := range es {
		var n int
		if _, err := fmt.Sscanf(e.Name(), "round-%d", &n); err == nil && n < min(steps[len(steps)-1], step) {
			if err := os.RemoveAll(filepath.Join(root, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
