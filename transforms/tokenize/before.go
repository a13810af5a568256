package tokenize

import (
	"slices"
	"unicode/utf8"

	tok "github.com/adaptflow/adaptflow/tokenize"
)

// textBefore encodes a plain text as version 0.1 did, for output folders that it began: behind bos_token where the tokenizer names one,
// else before eos_token.
func textBefore(t tok.Tokenizer, text string) (*tok.Encoding, error) {
	e, err := t.Encode(text, false)
	if err != nil {
		return nil, err
	}
	bos, eos, _, _ := t.Special()
	if bos >= 0 {
		e.IDs, e.Offsets = slices.Insert(e.IDs, 0, bos), slices.Insert(e.Offsets, 0, [2]int32{})
	} else if eos >= 0 {
		end := int32(utf8.RuneCountInString(text))
		e.IDs, e.Offsets = append(e.IDs, eos), append(e.Offsets, [2]int32{end, end})
	}
	return e, nil
}
