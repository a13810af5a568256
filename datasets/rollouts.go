package datasets

import (
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Rollout is an answer that a model gave to a prompt, with what is known of it: a row of a Parquet file.
type Rollout struct {
	Prompt     int32   `parquet:"prompt_index"` // of the prompts of its round
	Sample     int32   `parquet:"sample"`       // of the answers to the prompt
	DocID      string  `parquet:"doc_id"`       // of the prompt
	PromptText string  `parquet:"prompt"`
	Completion string  `parquet:"completion"`
	Right      string  `parquet:"answer"` // what a right answer would be; "" where that is not known
	Reward     float64 `parquet:"reward"` // the weighted sum; NaN for none
	Advantage  float64 `parquet:"advantage"`
	Flat       bool    `parquet:"flat"`      // all rewards of its group are the same
	Truncated  bool    `parquet:"truncated"` // it was cut at its longest
	// Rewards are those of each reward function, NaN for none.
	Rewards       []float64 `parquet:"rewards,list"`
	PromptIDs     []int32   `parquet:"prompt_ids,list"`
	CompletionIDs []int32   `parquet:"completion_ids,list"`
	OldLogps      []float32 `parquet:"old_logps,list"` // of each token of the answer when it was sampled
	RefLogps      []float32 `parquet:"ref_logps,list"` // the same by the reference; empty for none
}

// rolloutsSeal is the key of a file's metadata that says of which run its rollouts are.
const rolloutsSeal = "binding"

// WriteRollouts writes a file of rollouts, whole or not at all; binding says of which run they are.
func WriteRollouts(path, binding string, rows []Rollout) error {
	f, err := storage.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	w := parquet.NewGenericWriter[Rollout](f, append(writerOptions(), parquet.KeyValueMetadata(rolloutsSeal, binding))...)
	if _, err := w.Write(rows); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Commit()
}

// ReadRollouts reads a file of rollouts of a run.
func ReadRollouts(path, binding string) (rows []Rollout, err error) {
	r, err := storage.OpenReaderAt(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}()
	defer guard(&err)
	f, err := parquet.OpenFile(r, r.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, err
	}
	if of, _ := f.Lookup(rolloutsSeal); of != binding {
		return nil, errors.New("these rollouts are of a run with other settings, data, base model or kernel set")
	}
	g := parquet.NewGenericReader[Rollout](f)
	defer g.Close()
	rows = make([]Rollout, g.NumRows())
	for n := 0; n < len(rows); {
		k, err := g.Read(rows[n:])
		if n += k; n < len(rows) && err != nil {
			return nil, errors.Join(err, io.ErrUnexpectedEOF)
		}
	}
	for i := range rows {
		x := &rows[i]
		if len(x.CompletionIDs) == 0 || len(x.PromptIDs) == 0 || len(x.OldLogps) != len(x.CompletionIDs) ||
			len(x.RefLogps) > 0 && len(x.RefLogps) != len(x.CompletionIDs) {
			return nil, fmt.Errorf("row %d: %d tokens of a prompt, %d of an answer, %d and %d log-probabilities", i, len(x.PromptIDs),
				len(x.CompletionIDs), len(x.OldLogps), len(x.RefLogps))
		}
	}
	return rows, nil
}
