package rules

import (
	"regexp"
	"strings"

	"github.com/markusmobius/go-trafilatura"
	"golang.org/x/net/html"
)

// HTMLText takes the main text out of web pages with Trafilatura (Barbaresi 2021, "Trafilatura: A Web Scraping Library and Command-Line Tool for
// Text Discovery and Extraction"). A document that is no HTML stays as it is; one without text is dropped.
type HTMLText struct {
	FavourPrecision bool `yaml:"favour_precision" json:"favour_precision"` // less text, more surely of the page itself
	FavourRecall    bool `yaml:"favour_recall" json:"favour_recall"`
	IncludeTables   bool `yaml:"include_tables" json:"include_tables"`
	MaxBytes        int  `yaml:"max_bytes" json:"max_bytes"` // larger pages are dropped
}

// NewHTMLText returns FineWeb's choice, precision.
func NewHTMLText() *HTMLText {
	return &HTMLText{FavourPrecision: true, IncludeTables: true, MaxBytes: 4 << 20}
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
	focus := trafilatura.Balanced
	switch {
	case h.FavourPrecision:
		focus = trafilatura.FavorPrecision
	case h.FavourRecall:
		focus = trafilatura.FavorRecall
	}
	text := ""
	res, err := trafilatura.Extract(strings.NewReader(d.Text), trafilatura.Options{Focus: focus, ExcludeComments: true, ExcludeTables: !h.IncludeTables, EnableFallback: true})
	if err == nil && res != nil {
		text = strip(res.ContentText)
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
