package tokenize

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

func inverted(f finder) finder {
	return func(s string) ([]mspan, error) {
		m, err := f(s)
		for i := range m {
			m[i].match = !m[i].match
		}
		return m, err
	}
}

// preRow is a pre-tokenizer by its type in tokenizer.json.
type preRow struct {
	name     string
	unmapped bool // not after ByteLevel
	read     func(v val, o *obj, p *preStep) error
}

// preRows are the pre-tokenizers beside Sequence.
var preRows = []preRow{
	{"BertPreTokenizer", true, func(_ val, _ *obj, p *preStep) error {
		p.kind = preBert
		return nil
	}},
	{"ByteLevel", false, readByteLevel},
	{"CharDelimiterSplit", false, func(_ val, o *obj, p *preStep) error {
		d := o.str("delimiter")
		if utf8.RuneCountInString(d) != 1 && o.err == nil {
			return fmt.Errorf("%s must be one character", o.at("delimiter"))
		}
		p.kind, p.find, p.behavior = preFind, findLiteral(d), removed
		return nil
	}},
	{"Digits", false, func(_ val, o *obj, p *preStep) error {
		p.kind, p.single = preDigits, o.boolean("individual_digits", false)
		return nil
	}},
	{"FixedLength", true, func(_ val, o *obj, p *preStep) error {
		p.kind, p.length = preLength, 5
		o.get("length", false, &p.length)
		if p.length < 1 {
			return fmt.Errorf("%s must be at least 1", o.at("length"))
		}
		return nil
	}},
	{"Metaspace", false, func(_ val, o *obj, p *preStep) (err error) {
		p.kind, p.behavior = preMetaspace, withNext
		if p.meta.rep, p.meta.scheme, p.meta.split, err = parseMetaspace(o); err != nil {
			return err
		}
		p.find = findLiteral(p.meta.rep)
		return nil
	}},
	{"Punctuation", false, func(_ val, o *obj, p *preStep) error {
		p.kind, p.find = preFind, findPunct
		p.behavior = behavior(o.strOr("behavior", string(isolated)))
		return nil
	}},
	{"Split", false, readSplit},
	{"UnicodeScripts", true, func(_ val, _ *obj, p *preStep) error {
		p.kind = preScripts
		return nil
	}},
	{"Whitespace", false, func(_ val, _ *obj, p *preStep) error {
		p.kind, p.find, p.behavior = preFind, findWords, removed
		return nil
	}},
	{"WhitespaceSplit", true, func(_ val, _ *obj, p *preStep) error {
		p.kind = preSpaces
		return nil
	}},
}

// parsePre reads the pre-tokenizer and appends its steps.
func parsePre(v val, steps []preStep) ([]preStep, error) {
	if v.null() {
		return steps, nil
	}
	o, err := v.object()
	if err != nil {
		return nil, err
	}
	kind := o.str("type")
	if kind == "Sequence" {
		list, err := o.take("pretokenizers").list()
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if steps, err = parsePre(e, steps); err != nil {
				return nil, err
			}
		}
		return steps, o.done()
	}
	at := slices.IndexFunc(preRows, func(r preRow) bool { return r.name == kind })
	if at < 0 {
		if o.err != nil {
			return nil, o.err
		}
		return nil, unsupported(v.path, kind, "BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits, FixedLength, Metaspace, "+
			"Punctuation, "+
			"Sequence, Split, UnicodeScripts, Whitespace, WhitespaceSplit")
	}
	p := preStep{mapped: slices.ContainsFunc(steps, func(s preStep) bool { return s.kind == preByteLevel })}
	if err := preRows[at].read(v, o, &p); err != nil {
		return nil, err
	}
	if p.mapped && preRows[at].unmapped {
		return nil, mappedBefore(v, kind)
	}
	switch p.behavior {
	case "", removed, isolated, withPrevious, withNext, contiguous:
	default:
		return nil, unsupported(v.path+".behavior", string(p.behavior), "Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous")
	}
	return append(steps, p), o.done()
}

func readByteLevel(v val, o *obj, p *preStep) error {
	if p.mapped {
		return fmt.Errorf("%s: a second ByteLevel is not supported", v.path)
	}
	p.kind, p.lone = preByteLevel, v.path == "pre_tokenizer"
	p.prefix = o.boolean("add_prefix_space", true)
	o.boolean("trim_offsets", true) // used by the post-processor only
	if o.boolean("use_regex", true) {
		p.scan = scanGPT2
	}
	return nil
}

func readSplit(_ val, o *obj, p *preStep) error {
	pat := o.take("pattern")
	re, text, err := parsePattern(pat)
	if err != nil {
		return err
	}
	p.kind = preFind
	p.behavior = behavior(o.str("behavior"))
	inv := o.boolean("invert", false)
	switch {
	case text == "":
		return fmt.Errorf("%s is empty", pat.path)
	case !re:
		p.find = findLiteral(text)
	case scanners[text] != nil && p.behavior == isolated && !p.mapped:
		p.kind, p.scan = preScan, scanners[text]
	case text == "[0-9][0-9][0-9]" && p.behavior == isolated:
		p.kind = preDigits3
	default:
		if p.find, err = findRegex(text, false); err != nil {
			return fmt.Errorf("%s: %w", pat.path, err)
		}
	}
	if inv && p.find != nil {
		p.find = inverted(p.find)
	}
	return nil
}

// parseMetaspace reads the fields that Metaspace has as pre-tokenizer and as
// decoder; add_prefix_space is the older spelling of prepend_scheme.
func parseMetaspace(o *obj) (rep, scheme string, split bool, err error) {
	rep = o.str("replacement")
	scheme = "always"
	if !o.boolean("add_prefix_space", true) {
		scheme = "never"
	}
	scheme = o.strOr("prepend_scheme", scheme)
	o.strOr("str_rep", rep)
	split = o.boolean("split", true)
	if scheme != "always" && scheme != "first" && scheme != "never" {
		err = unsupported(o.at("prepend_scheme"), scheme, "always, first, never")
	}
	if utf8.RuneCountInString(rep) != 1 && err == nil && o.err == nil {
		err = fmt.Errorf("%s must be one character", o.at("replacement"))
	}
	return rep, scheme, split, err
}
