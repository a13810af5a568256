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

// FromClasses packs a padded batch as FromBatch does, for a model with a head of classes: of each row the prediction at the last token that
// is not pad is wanted, as transformers pools, and label is its class (nil: none are wanted).
func FromClasses(ids, mask, labels []int64, rows, length int, pad int32) *Step {
	s, at := FromBatch(ids, mask, nil, rows, length)
	first, last := make([]int, rows), make([]int, rows)
	for i := range rows {
		first[i], last[i] = -1, -1
	}
	for n, i := range at {
		row := i / length
		if first[row] < 0 {
			first[row] = n
		}
		if int32(ids[i]) != pad {
			last[row] = n
		}
	}
	s.Rows, s.Labels = nil, nil
	for row, n := range last {
		if first[row] < 0 {
			continue // nothing but padding
		}
		s.Rows = append(s.Rows, int32(max(n, first[row])))
		if labels != nil {
			s.Labels = append(s.Labels, int32(labels[row]))
		}
	}
	return s
}
