package infer

import (
	"fmt"
	"strings"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/nn"
)

// Logits computes the logits of every token of a batch: input holds input_ids [B, T] and perhaps attention_mask, the output
// file gets logits F32 [B, T, V], zero at masked positions; of a classifier V is the number of classes. names say, for each row
// of the batch, which of several adapters it uses ([peft.BaseName] for none, names joined by "+" for adapters that are added
// up); a single one is for all rows.
func (m *Model) Logits(input, output string, names ...string) error {
	rows, err := m.slots(names)
	if err != nil {
		return err
	}
	if rows == nil {
		rows = []int{m.slot}
	}
	if err := storage.CheckTarget(output); err != nil {
		return err
	}
	f, err := safetensors.Open(input)
	if err != nil {
		return err
	}
	defer f.Close()
	info, ok := f.Info("input_ids")
	if !ok || len(info.Shape) != 2 {
		return fmt.Errorf("%s: it needs a tensor input_ids of shape [B, T]", input)
	}
	ids, err := f.Int64("input_ids")
	if err != nil {
		return err
	}
	b, t, vocab, v := info.Shape[0], info.Shape[1], m.Base.Config.Vocab, m.Base.Config.Outputs()
	if b == 0 || t == 0 {
		return fmt.Errorf("%s: input_ids is empty", input)
	}
	for i, id := range ids {
		if id < 0 || id >= int64(vocab) {
			return fmt.Errorf("%s: input_ids holds %d at row %d, column %d, but the vocabulary is %d", input, id, i/t, i%t, vocab)
		}
	}
	if n := m.Positions(); t > n {
		return fmt.Errorf("%s: rows of %d tokens, but the model has %d positions for text", input, t, n)
	}
	var mask []int64
	if at, ok := f.Info("attention_mask"); ok {
		if len(at.Shape) != 2 || at.Shape[0] != b || at.Shape[1] != t {
			return fmt.Errorf("%s: attention_mask has shape %v, input_ids %v", input, at.Shape, info.Shape)
		}
		if mask, err = f.Int64("attention_mask"); err != nil {
			return err
		}
	}
	out := make([]float32, b*t*v)
	p, err := nn.Compile(m.Base, m.Adapters, m.Params, nn.Options{Mode: nn.ModeLogits, Caps: nn.Caps{T: t, S: t, N: 1}, Pool: m.Pool})
	if err != nil {
		return err
	}
	defer p.Close()
	for r := range b {
		var row []int64
		if mask != nil {
			row = mask[r*t : (r+1)*t]
		}
		s, at := nn.FromBatch(ids[r*t:(r+1)*t], row, nil, 1, t)
		if len(at) == 0 {
			continue
		}
		if err := segments(s, rows, r, b); err != nil {
			return err
		}
		logits := p.Forward(s, false)
		for i, k := range at {
			copy(out[(r*t+k)*v:(r*t+k+1)*v], logits[i*v:(i+1)*v])
		}
	}
	return safetensors.Write(output, []safetensors.Tensor{safetensors.F32("logits", out, b, t, v)}, nil)
}

// slots are the slots of the adapters that names select, as in [Model.Logits]; nil for no names.
func (m *Model) slots(names []string) (out []int, err error) {
	if len(names) > 0 && m.set == nil {
		return nil, fmt.Errorf("adapters are chosen by name (%s), but none was opened by name", strings.Join(names, ", "))
	}
	for _, n := range names {
		slot, err := m.set.Select(strings.Split(n, "+")...)
		if err != nil {
			return nil, err
		}
		out = append(out, slot)
	}
	return out, nil
}

// segments gives a row of a batch its adapter.
func segments(s *nn.Step, slots []int, row, rows int) error {
	if len(slots) != 1 && len(slots) != rows {
		return fmt.Errorf("adapter-names has %d names for %d rows: give one for all, or one a row", len(slots), rows)
	}
	if slot := slots[min(row, len(slots)-1)]; slot != 0 {
		s.Segments = []nn.Segment{{End: len(s.Tokens), Slot: slot}}
	}
	return nil
}
