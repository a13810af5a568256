package tokenize

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/internal/settings"
)

// Values of Ends.BOS and Ends.EOS; "" is Auto.
const (
	Auto = "auto"
	Yes  = "true"
	No   = "false"
)

// Ends say what stands around a text that is learnt, scored or continued. Turns of a chat template have what the template writes, and none
// of this.
type Ends struct {
	// BOS: Auto as the tokenizer's post-processor does it, Yes always, No never.
	BOS string `yaml:"add_bos" enum:"auto,true,false" unset:"true" since:"0.2" help:"whether texts begin with bos_token: as the tokenizer itself does it (auto), always or never; turns of a chat template have what the template writes"`
	// EOS: Yes and No likewise; Auto is Yes where there is an eos_token, but of plain texts with a Separator, which ends them alone.
	EOS string `yaml:"add_eos" enum:"auto,true,false" unset:"true" since:"0.2" help:"whether texts and completions end with eos_token, which is learnt: auto is true, but of plain texts with a document_separator"`
	// Separator is a text after each plain text, after eos_token where that is there.
	Separator string `yaml:"document_separator" since:"0.2" help:"text that ends each plain text in place of eos_token, such as <|endoftext|>, and is learnt; after eos_token where add_eos is true; empty for none"`
}

// Frame are the Ends of a tokenizer.
type Frame struct {
	t                Tokenizer
	before           []int32 // of every text
	text, completion []int32 // after a plain text, after a completion
	class            []int32 // after a text that has a class
	bos, eos         int32
	separator        []int32
	plain            bool // nothing is said of BOS and EOS
}

// Validate says what is wrong with a setting by itself.
func (e Ends) Validate() error {
	if wrong := (*settings.Error)(nil); errors.As(settings.CheckSet(e), &wrong) {
		return fmt.Errorf("%s is %s; it is auto, true or false", wrong.Key, wrong.Value)
	}
	return nil
}

// Frame makes the Ends of a tokenizer; wanting a token that it does not have is an error.
func (e Ends) Frame(t Tokenizer) (*Frame, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	f := &Frame{t: t, plain: (e.BOS == "" || e.BOS == Auto) && (e.EOS == "" || e.EOS == Auto)}
	f.bos, f.eos, _, _ = t.Special()
	before, after := t.Around()
	for _, c := range []struct {
		name, value, token string
		id                 int32
	}{{"add_bos", e.BOS, "bos_token", f.bos}, {"add_eos", e.EOS, "eos_token", f.eos}} {
		if c.value == Yes && c.id < 0 {
			return nil, fmt.Errorf("%s is true, and the tokenizer names no %s: name it in tokenizer_config.json, or set %s to auto",
				c.name, c.token, c.name)
		}
	}
	f.before = edge(before, f.bos, e.BOS, true)
	f.class = edge(after, f.eos, e.EOS, false)
	eos := e.EOS
	if (eos == "" || eos == Auto) && f.eos >= 0 {
		eos = Yes
	}
	f.completion = edge(after, f.eos, eos, false)
	if f.text = f.completion; e.Separator == "" {
		return f, nil
	}
	var err error
	if f.separator, err = t.AppendIDs(nil, e.Separator, false); err != nil {
		return nil, fmt.Errorf("document_separator: %w", err)
	}
	if len(f.separator) == 0 {
		return nil, fmt.Errorf("document_separator %q is not a token of the tokenizer's", e.Separator)
	}
	if eos = No; e.EOS == Yes { // the separator ends a text alone, unless eos_token is asked for
		eos = Yes
	}
	f.text = slices.Concat(edge(after, f.eos, eos, false), f.separator)
	return f, nil
}

// edge is what the post-processor adds with id in it, or without it. Before a text id comes first; after one it comes before the
// post-processor's own, as where it is appended to the text.
func edge(own []int32, id int32, want string, first bool) []int32 {
	has := slices.Contains(own, id)
	switch {
	case want == Yes && !has:
		return append([]int32{id}, own...)
	case want == No && has:
		return slices.DeleteFunc(slices.Clone(own), func(x int32) bool { return x == id })
	}
	return own
}

// Tokenizer is the tokenizer whose Ends they are.
func (f *Frame) Tokenizer() Tokenizer { return f.t }

// BOS and EOS say whether plain texts begin with bos_token, and end with eos_token.
func (f *Frame) BOS() bool { return f.bos >= 0 && slices.Contains(f.before, f.bos) }

// EOS is explained at BOS.
func (f *Frame) EOS() bool { return f.eos >= 0 && slices.Contains(f.text, f.eos) }

// End is what stands after a plain text.
func (f *Frame) End() []int32 { return f.text }

// Text encodes a plain text with what stands around it. A token at its border that the text itself has there is not doubled.
func (f *Frame) Text(text string) (*Encoding, error) { return f.encode(text, f.text) }

// Class encodes a text that has a class as the tokenizer by itself does, unless Ends say otherwise of BOS or EOS.
func (f *Frame) Class(text string) (*Encoding, error) {
	if f.plain {
		return f.t.Encode(text, true)
	}
	return f.encode(text, f.class)
}

// Completion encodes a prompt with its completion, to which eos_token is appended as TRL does it: as text, unless the completion ends with
// it. Where the tokenizer does not find the token in that text, as that of Llama 2 behind a word, its id is appended.
func (f *Frame) Completion(prompt, completion string) (*Encoding, error) {
	if slices.Contains(f.completion, f.eos) {
		if s, ok := f.t.IDToToken(f.eos); ok && !strings.HasSuffix(completion, s) {
			text := prompt + completion + s
			e, err := f.t.Encode(text, false)
			if err != nil {
				return nil, err
			}
			if n := len(e.IDs); n > 0 && e.IDs[n-1] == f.eos {
				return f.around(e, text, f.completion)
			}
		}
	}
	return f.encode(prompt+completion, f.completion)
}

// Prompt are the ids of a text that is continued: what stands before a text is there, what stands after it is not.
func (f *Frame) Prompt(text string) ([]int32, error) {
	ids, err := f.t.AppendIDs(nil, text, false)
	if err != nil {
		return nil, err
	}
	return slices.Concat(f.head(ids), ids), nil
}

// Stop are the tokens that end what is generated: those that end texts and completions.
func (f *Frame) Stop() (out []int32) {
	for _, after := range [][]int32{f.completion, f.text} {
		if f.eos >= 0 && slices.Contains(after, f.eos) {
			out = append(out, f.eos)
		}
	}
	if len(f.separator) == 1 {
		out = append(out, f.separator[0])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// head is what stands before ids: without bos where they begin with it.
func (f *Frame) head(ids []int32) []int32 {
	if n := len(f.before); n > 0 && len(ids) > 0 && f.before[n-1] == f.bos && ids[0] == f.bos {
		return f.before[:n-1]
	}
	return f.before
}

// tail is what stands after ids: without the part of its beginning that ids end with.
func (f *Frame) tail(ids, after []int32) []int32 {
	for n := len(after); n > 0; n-- {
		if len(ids) >= n && slices.Equal(ids[len(ids)-n:], after[:n]) {
			return after[n:]
		}
	}
	return after
}

// encode encodes a text and puts around it what stands there.
func (f *Frame) encode(text string, after []int32) (*Encoding, error) {
	e, err := f.t.Encode(text, false)
	if err != nil {
		return nil, err
	}
	return f.around(e, text, after)
}

// around puts around an encoded text what stands there.
func (f *Frame) around(e *Encoding, text string, after []int32) (*Encoding, error) {
	if len(e.Offsets) != len(e.IDs) {
		return nil, fmt.Errorf("the tokenizer engine gave %d offsets for %d tokens", len(e.Offsets), len(e.IDs))
	}
	before, after := f.head(e.IDs), f.tail(e.IDs, after)
	if len(before)+len(after) == 0 {
		return e, nil
	}
	e.IDs = append(append(slices.Clone(before), e.IDs...), after...)
	e.Offsets = slices.Concat(make([][2]int32, len(before)), e.Offsets)
	e.SpecialMask = slices.Concat(slices.Repeat([]uint8{1}, len(before)), e.SpecialMask)
	end := int32(utf8.RuneCountInString(text))
	for range after {
		e.Offsets, e.SpecialMask = append(e.Offsets, [2]int32{end, end}), append(e.SpecialMask, 1)
	}
	return e, nil
}
