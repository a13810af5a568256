package words

import (
	"slices"
	"strings"
	"testing"
)

// TestUnspaced: languages without spaces are cut into characters, their Latin words and runs of Katakana stay whole, and nothing but white
// space is lost.
func TestUnspaced(t *testing.T) {
	for _, c := range []struct{ code, text, words, sentences string }{
		{"ja", "東京はDebianの サーバー。本当？」はい！", "東|京|は|Debian|の|サーバー|。|本|当|？|」|は|い|！", "東京はDebianの サーバー。|本当？」|はい！"},
		{"zh", "我有2.5個。\n好", "我|有|2.5|個|。|好", "我有2.5個。|好"},
		{"th", "ที่นี่", "ที่|นี่", "ที่นี่"},
	} {
		s, err := For(c.code)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(s.Words(c.text), "|"); got != c.words {
			t.Errorf("%s: words %s, want %s", c.code, got, c.words)
		}
		var got []string
		for _, p := range s.Sentences(c.text) {
			got = append(got, c.text[p.Start:p.End])
		}
		if !slices.Equal(got, strings.Split(c.sentences, "|")) {
			t.Errorf("%s: sentences %q, want %s", c.code, got, c.sentences)
		}
	}
}
