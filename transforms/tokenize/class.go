package tokenize

import (
	"encoding/json"
	"fmt"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/tokenize/chat"
)

// class encodes a text that has a class as transformers' tokenizers do for a classifier: with the special tokens that the tokenizer adds by
// itself, and cut to the longest length by leaving out the end of the text, never a special token after it. The class is the label of the
// last token.
func (e *rowEncoder) class(row *datasets.Row) (*chat.Tokens, error) {
	var text string
	if err := json.Unmarshal(row.Prompt, &text); err != nil {
		return nil, fmt.Errorf("text: %w", err)
	}
	class, ok := e.classes[row.Label]
	if !ok {
		return nil, fmt.Errorf("the class %q is none of the %d known", row.Label, len(e.classes))
	}
	enc, err := e.frame.Class(text)
	if err != nil {
		return nil, err
	}
	ids, spans := enc.IDs, enc.Offsets
	if e.max > 0 && len(ids) > e.max {
		plain, err := e.t.AppendIDs(nil, text, false)
		if err != nil {
			return nil, err
		}
		after := 0 // special tokens after the text
		for after < len(ids)-len(plain) && (len(plain) == 0 || ids[len(ids)-1-after] != plain[len(plain)-1]) {
			after++
		}
		if after >= e.max {
			return nil, fmt.Errorf("%d tokens are too few for a text and the special tokens around it", e.max)
		}
		ids = append(ids[:e.max-after:e.max-after], ids[len(ids)-after:]...)
		spans = append(spans[:e.max-after:e.max-after], spans[len(spans)-after:]...)
	}
	out := &chat.Tokens{IDs: ids, Labels: make([]int32, len(ids)), Spans: spans}
	for i := range out.Labels {
		out.Labels[i] = datasets.NoLoss
	}
	if len(ids) > 0 {
		out.Labels[len(ids)-1] = class
	}
	return out, nil
}
