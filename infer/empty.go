package infer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/tokenize"
)

// whyEmpty says why a continuation shows nothing: the tokens out, of a model whose texts end with one of eos. "" where it shows
// something.
func whyEmpty(tk tokenize.Tokenizer, eos, out []int32) string {
	text := tk.Decode(out, true)
	if strings.TrimSpace(text) != "" {
		return ""
	}
	name := func(id int32) string {
		if s, ok := tk.IDToToken(id); ok {
			return fmt.Sprintf("%s (%d)", s, id)
		}
		return fmt.Sprint(id)
	}
	switch {
	case len(out) == 0:
		return "the continuation is empty: no token was asked for (max_new_tokens)"
	case slices.Contains(eos, out[0]):
		return fmt.Sprintf("the continuation is empty: the first token is %s, which ends a text", name(out[0]))
	case text != "":
		return fmt.Sprintf("the continuation of %d tokens is white space", len(out))
	case slices.Contains(eos, out[len(out)-1]):
		return fmt.Sprintf("the continuation is empty: %d special tokens from %s on, which are not shown, and %s, which ends a text",
			len(out)-1, name(out[0]), name(out[len(out)-1]))
	}
	return fmt.Sprintf("the continuation is empty: its %d tokens from %s on are special ones, which are not shown", len(out), name(out[0]))
}
