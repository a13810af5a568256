package peft

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/internal/safetensors"
)

// adaState is what a checkpoint keeps.
type adaState struct {
	Total int // total_step, 0 where no step was made
	Slots []*adaSlot
}

// State implements Stepper.
func (a *adalora) State() ([]byte, error) {
	st := adaState{Slots: a.slots}
	if a.cfg.TotalStep != nil {
		st.Total = *a.cfg.TotalStep
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(st); err != nil {
		return nil, fmt.Errorf("peft: ADALORA: %w", err)
	}
	return b.Bytes(), nil
}

// SetState implements Stepper.
func (a *adalora) SetState(raw []byte) error {
	var st adaState
	if err := gob.NewDecoder(bytes.NewReader(raw)).Decode(&st); err != nil {
		return fmt.Errorf("peft: ADALORA: the state of the rank allocation: %w", err)
	}
	for _, s := range st.Slots {
		if s.Keep != nil && len(s.Keep) != len(a.live()) {
			return fmt.Errorf("peft: ADALORA: the state of the rank allocation is for %d layers, the adapter has %d",
				len(s.Keep), len(a.live()))
		}
	}
	a.slots = st.Slots
	if st.Total > 0 {
		a.cfg.TotalStep = &st.Total
	}
	return nil
}

// saving implements storer: the slot's ranks go into rank_pattern, and total_step is what a run that reads the folder needs.
func (a *adalora) saving(slot int) {
	if a.cfg.TotalStep == nil {
		n := a.cfg.TInit + a.cfg.TFinal + 1
		a.cfg.TotalStep = &n
	}
	if s := a.slot(slot); s.Keep != nil {
		pattern := map[string][]bool{}
		for name, keep := range a.cfg.RankPattern {
			pattern[name] = keep
		}
		for i, t := range a.live() {
			pattern[t.name+".lora_E"] = s.Keep[i]
		}
		a.cfg.RankPattern = pattern
	}
}

// stored implements storer: only the triplets that are left.
func (a *adalora) stored(p *Param, v []float32, slot int) []safetensors.Tensor {
	s := a.slot(slot)
	if s.Keep == nil {
		return nil
	}
	for i, t := range a.live() {
		at := slices.Index(t.params, p)
		if at < 0 {
			continue
		}
		kept, out := 0, []float32{}
		for _, k := range s.Keep[i] {
			if k {
				kept++
			}
		}
		for j, x := range v {
			k := j / p.Cols
			if at == 2 {
				k = j % p.Cols
			}
			if s.Keep[i][k] {
				out = append(out, x)
			}
		}
		shape := []int{kept, p.Cols}
		if at == 2 {
			shape = []int{p.Rows, kept}
		}
		return []safetensors.Tensor{safetensors.F32(p.Key, out, shape...)}
	}
	return nil
}

// restored implements storer.
func (a *adalora) restored(*Param, safetensors.Source, string) ([]float32, []string, error) {
	return nil, nil, nil
}
