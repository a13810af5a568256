package ingest

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/datasets/rules"
)

// page takes the main text out of a record that is a web page, of a file or of a web archive. What an archive has of a page are its bytes,
// in the encoding that the answer, a byte order mark or the page itself names.
func (f *reading) page(r datasets.Reader, rec *datasets.Record) *datasets.Reject {
	switch format, _ := r.Layout(); {
	case rec.MediaType != "":
		text, ok := decoded(rec.Text, rec.MediaType)
		if !ok {
			return &datasets.Reject{Source: rec.Source, Index: rec.Index, Reason: datasets.ReasonInvalidUTF8, Value: rec.MediaType,
				Threshold: "an encoding of the web", Record: []byte(rec.Text[:min(len(rec.Text), datasets.MaxRejectRecord)])}
		}
		if rec.Text = text; !strings.Contains(rec.MediaType, "html") {
			return nil
		}
	case !strings.HasPrefix(format, datasets.FormatHTML):
		return nil
	}
	v := f.pages.Apply(&rules.Doc{Text: rec.Text, URL: rec.URL})
	if !v.Keep {
		return &datasets.Reject{Source: rec.Source, Index: rec.Index, Rule: f.pages.Name(), Reason: v.Reason, Value: v.Value,
			Threshold: v.Threshold,
			Record:    []byte(rec.Text[:min(len(rec.Text), datasets.MaxRejectRecord)])}
	}
	rec.Text = v.Text
	return nil
}

// MainText takes the main text out of a record that is a web page, as reading does at the rule's defaults; any other it leaves as it is. It
// returns the rejection of a page without text.
func MainText(r datasets.Reader, rec *datasets.Record) *datasets.Reject {
	f := reading{pages: rules.NewHTMLText()}
	return f.page(r, rec)
}

// decoded is a page in UTF-8, by the HTML standard's rules for its encoding.
func decoded(page, mediaType string) (string, bool) {
	if utf8.ValidString(page) {
		return strings.TrimPrefix(page, "\ufeff"), true
	}
	e, _, _ := charset.DetermineEncoding([]byte(page[:min(len(page), 1024)]), mediaType)
	text, err := e.NewDecoder().String(page)
	return text, err == nil && utf8.ValidString(text)
}
