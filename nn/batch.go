package nn

import "github.com/adaptflow/adaptflow/kernels"

// FromBatch packs a padded batch [rows, length] as Hugging Face transformers takes it: each row is a document of the tokens
// whose mask is 1 (nil: all), its positions count from 0. labels are unshifted, -100 for no loss (nil: none are wanted): the row before
// a label predicts it. With labels nil every token's prediction is wanted and at gives, for each, its index in the batch.
func FromBatch(ids, mask, labels []int64, rows, length int) (s *Step, at []int) {
	s = &Step{}
	for b := range rows {
		start := len(s.Tokens)
		for t := range length {
			i := b*length + t
			if mask != nil && mask[i] == 0 {
				continue
			}
			n := len(s.Tokens)
			if labels == nil {
				s.Rows, at = append(s.Rows, int32(n)), append(at, i)
			} else if l := labels[i]; l >= 0 && n > start {
				s.Rows, s.Labels, at = append(s.Rows, int32(n-1)), append(s.Labels, int32(l)), append(at, i)
			}
			s.Tokens = append(s.Tokens, int32(ids[i]))
			s.Positions = append(s.Positions, int32(n-start))
		}
		if len(s.Tokens) > start {
			s.Docs = append(s.Docs, kernels.Doc{Start: int32(start), End: int32(len(s.Tokens))})
		}
	}
	return s, at
}
