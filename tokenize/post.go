package tokenize

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// postProcessor is what stands around the tokens of a single text, and how
// offsets are trimmed.
type postProcessor struct {
	before, after []int32
	trims         []trimStep
}

// trimStep takes the spaces out of offsets; prefix: the first space was added by
// the pre-tokenizer and has no place in the text.
type trimStep struct{ prefix bool }

// spaces counts the spaces at the ends of a token.
func spaces(tok string) (t trim) {
	is := func(r rune) bool { return r == byteRune[' '] || isSpace(r) }
	for _, r := range tok {
		if !is(r) {
			break
		}
		t.lead++
	}
	for len(tok) > 0 {
		r, n := utf8.DecodeLastRuneInString(tok)
		if !is(r) {
			break
		}
		tok = tok[:len(tok)-n]
		t.trail++
	}
	return t
}

func (t trim) apply(o [2]int32, first, prefix bool) [2]int32 {
	if t.lead > 0 {
		if !(prefix && (first || o[0] == 0)) {
			o[0] = min(o[0]+t.lead, o[1])
		}
	}
	if t.trail > 0 && o[1] >= t.trail {
		o[1] = max(o[1]-t.trail, o[0])
	}
	return o
}

// parsePost reads the post-processor into p.
func parsePost(v val, p *postProcessor, vocab func(string) (int32, bool)) error {
	if v.null() {
		return nil
	}
	o, err := v.object()
	if err != nil {
		return err
	}
	switch kind := o.str("type"); kind {
	case "Sequence":
		list, err := o.take("processors").list()
		if err != nil {
			return err
		}
		for _, e := range list {
			if err := parsePost(e, p, vocab); err != nil {
				return err
			}
			if len(p.before)+len(p.after)+len(p.trims) > maxAround {
				return fmt.Errorf("%s does more than %d things to a text", v.path, maxAround)
			}
		}
	case "ByteLevel":
		prefix := o.boolean("add_prefix_space", true)
		if o.boolean("trim_offsets", true) {
			p.trims = append(p.trims, trimStep{prefix})
		}
		o.boolean("use_regex", true)
	case "RobertaProcessing", "BertProcessing":
		cls, err1 := parseNamedID(o.take("cls"), vocab)
		sep, err2 := parseNamedID(o.take("sep"), vocab)
		if err1 != nil {
			return err1
		}
		if err2 != nil {
			return err2
		}
		if kind == "RobertaProcessing" {
			prefix := o.boolean("add_prefix_space", true)
			if o.boolean("trim_offsets", true) {
				p.trims = append(p.trims, trimStep{prefix})
			}
		}
		p.before = append([]int32{cls}, p.before...)
		p.after = append(p.after, sep)
	case "TemplateProcessing":
		if err := parseTemplate(o, p, vocab); err != nil {
			return err
		}
	default:
		if o.err != nil {
			return o.err
		}
		return unsupported(v.path, kind, "BertProcessing, ByteLevel, RobertaProcessing, Sequence, TemplateProcessing")
	}
	return o.done()
}

// parseNamedID reads ["</s>", 2].
func parseNamedID(v val, vocab func(string) (int32, bool)) (int32, error) {
	list, err := v.list()
	if err != nil {
		return 0, err
	}
	if len(list) != 2 {
		return 0, fmt.Errorf("%s is not a token and its id", v.path)
	}
	var tok string
	var id int32
	if err := list[0].decode(&tok); err != nil {
		return 0, err
	}
	if err := list[1].decode(&id); err != nil {
		return 0, err
	}
	if have, ok := vocab(tok); ok && have != id {
		return 0, fmt.Errorf("%s: %q has id %d here and %d in the vocabulary", v.path, tok, id, have)
	}
	return id, nil
}

// parseTemplate reads the template of a single text; that of a pair is checked
// for form only, as pairs are not encoded.
func parseTemplate(o *obj, p *postProcessor, vocab func(string) (int32, bool)) error {
	var special map[string]struct {
		ID     string   `json:"id"`
		IDs    []int32  `json:"ids"`
		Tokens []string `json:"tokens"`
	}
	o.get("special_tokens", true, &special)
	single, pair := o.take("single"), o.take("pair")
	if o.err != nil {
		return o.err
	}
	if _, err := pair.list(); err != nil {
		return err
	}
	list, err := single.list()
	if err != nil {
		return err
	}
	var before, after []int32
	seen := false
	for _, e := range list {
		eo, err := e.object()
		if err != nil {
			return err
		}
		var part struct {
			ID     string `json:"id"`
			TypeID int    `json:"type_id"`
		}
		if eo.get("Sequence", false, &part) {
			if seen || part.ID != "A" {
				return fmt.Errorf("%s: a template of a single text has sequence A once", e.path)
			}
			seen = true
		} else if eo.get("SpecialToken", true, &part) {
			s, ok := special[part.ID]
			if !ok {
				return fmt.Errorf("%s: %q is not in special_tokens", e.path, part.ID)
			}
			if seen {
				after = append(after, s.IDs...)
			} else {
				before = append(before, s.IDs...)
			}
			if len(before)+len(after) > maxAround {
				return fmt.Errorf("%s puts more than %d tokens around a text", single.path, maxAround)
			}
		}
		if err := eo.done(); err != nil {
			return err
		}
	}
	if !seen {
		return fmt.Errorf("%s: the template leaves out sequence A", single.path)
	}
	p.before = slices.Concat(before, p.before)
	p.after = append(p.after, after...)
	return nil
}
