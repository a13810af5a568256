package rules

import (
	"net/url"
	"regexp"
	"strings"

	"codeberg.org/readeck/go-readability/v2"
	"golang.org/x/net/html"
)

// HTMLText takes the main text out of web pages by Mozilla's Readability. A document that is not HTML stays as it is; of a page without an
// article all text but scripts and styles is taken, and one without any is dropped.
type HTMLText struct {
	MaxBytes      int `yaml:"max_bytes" json:"max_bytes" help:"bytes of a page; a larger one is dropped"`
	MaxElements   int `yaml:"max_elements" json:"max_elements" help:"elements of a page; of one with more all text is taken"`
	CharThreshold int `yaml:"char_threshold" json:"char_threshold" help:"characters that an article has at least, Readability's default"`
}

// NewHTMLText returns Readability's threshold, and bounds for pages that no one wrote.
func NewHTMLText() *HTMLText {
	return &HTMLText{MaxBytes: 4 << 20, MaxElements: 100000, CharThreshold: 500}
}

// PageRule are the settings of html_text among those of a step of cleaning: the step itself, or what a profile that takes pages has at its
// defaults; nil of any other.
func PageRule(step map[string]any) map[string]any {
	r, err := decode(step)
	if err != nil {
		return nil
	}
	switch r := r.(type) {
	case *HTMLText:
		return step
	case *Profile:
		if r.Prepare() == nil {
			for _, x := range r.Rules() {
				if _, ok := x.(*HTMLText); ok {
					return map[string]any{"rule": x.Name()}
				}
			}
		}
	}
	return nil
}

// Name is "html_text".
func (*HTMLText) Name() string { return "html_text" }

// Prepare has nothing to check.
func (h *HTMLText) Prepare() error { return nil }

var (
	looksHTML = regexp.MustCompile(`(?i)<!doctype html|<html[\s>]|<body[\s>]`)
	tags      = regexp.MustCompile(`(?i)</?(?:p|div|span|a|br|hr|table|tr|td|ul|ol|li|h[1-6]|script|style|b|i|em|strong|img|pre|code|section|article)(?:\s[^<>]*)?/?>`)
)

// isHTML reports whether a text is a page or a piece of one: it says so, or has several tags.
func isHTML(text string) bool {
	head := text[:min(len(text), 4096)]
	return looksHTML.MatchString(head) || len(tags.FindAllStringIndex(head, 4)) >= 4
}

// Apply extracts the text.
func (h *HTMLText) Apply(d *Doc) Verdict {
	if strings.IndexByte(d.Text, '<') < 0 || !isHTML(d.Text) {
		return keep(d)
	}
	if h.MaxBytes > 0 && len(d.Text) > h.MaxBytes {
		return drop("page_too_large", float64(len(d.Text)), float64(h.MaxBytes))
	}
	text := ""
	p := readability.NewParser()
	p.MaxElemsToParse, p.CharThresholds = h.MaxElements, h.CharThreshold
	if a, err := p.Parse(strings.NewReader(d.Text), &url.URL{}); err == nil && a.Node != nil {
		var b strings.Builder
		if a.RenderText(&b) == nil {
			text = strip(b.String())
		}
	}
	if text == "" {
		text = plainText(d.Text)
	}
	if text == "" {
		return drop("no_text", 0, 1)
	}
	return Verdict{Keep: true, Text: text, Counters: []Counter{{"extracted", 1}}}
}

// plainText is all text of a page but scripts and styles, a line for each block.
func plainText(page string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(page))
	skip := ""
	for {
		switch z.Next() {
		case html.ErrorToken:
			lines := strings.FieldsFunc(b.String(), func(r rune) bool { return r == '\n' })
			out := lines[:0]
			for _, l := range lines {
				if l = strings.Join(strings.Fields(l), " "); l != "" {
					out = append(out, l)
				}
			}
			return strings.Join(out, "\n")
		case html.TextToken:
			if skip == "" {
				b.Write(z.Text())
			}
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			t := z.Token()
			switch t.Data {
			case "script", "style", "noscript", "template", "head":
				if t.Type == html.StartTagToken && skip == "" {
					skip = t.Data
				} else if t.Type == html.EndTagToken && skip == t.Data {
					skip = ""
				}
			case "a", "b", "i", "em", "strong", "span", "code", "u", "s", "sub", "sup", "small", "abbr", "font", "img":
			default:
				b.WriteByte('\n')
			}
		}
	}
}
