package rules

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// C4 is the cleaning of the Colossal Clean Crawled Corpus (Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified
// Text-to-Text Transformer", JMLR 21, section 2.2, and the code of TensorFlow Datasets): it leaves out lines, and drops documents. -1 turns
// off a test that has a number.
type C4 struct {
	SplitParagraph        bool `yaml:"split_paragraph" json:"split_paragraph" help:"lines are judged; false: sentences"`
	RemoveCitations       bool `yaml:"remove_citations" json:"remove_citations" help:"marks of citations, such as [1], are taken out"`
	FilterNoTerminalPunct bool `yaml:"filter_no_terminal_punct" json:"filter_no_terminal_punct" help:"lines that end in no terminal mark are taken out"`
	MinNumSentences       int  `yaml:"min_num_sentences" json:"min_num_sentences" help:"sentences that a document must have left"`
	MinWordsPerLine       int  `yaml:"min_words_per_line" json:"min_words_per_line" help:"words that a line must have"`
	MaxWordLength         int  `yaml:"max_word_length" json:"max_word_length" help:"characters that a word may have; a line with a longer one is taken out"`
	FilterLoremIpsum      bool `yaml:"filter_lorem_ipsum" json:"filter_lorem_ipsum" help:"documents with \"lorem ipsum\" are dropped"`
	FilterJavascript      bool `yaml:"filter_javascript" json:"filter_javascript" help:"lines that speak of JavaScript are taken out"`
	FilterCurlyBracket    bool `yaml:"filter_curly_bracket" json:"filter_curly_bracket" help:"documents with a curly bracket are dropped"`
	FilterPolicy          bool `yaml:"filter_policy" json:"filter_policy" help:"lines about policies and cookies are taken out"`
}

// c4Table holds the numbers of section 2.2 of the paper, and of the code for what the paper leaves out.
var c4Table = C4{
	SplitParagraph: true, RemoveCitations: true, FilterNoTerminalPunct: true, MinNumSentences: 5, MinWordsPerLine: 3, MaxWordLength: 1000,
	FilterLoremIpsum: true, FilterJavascript: true, FilterCurlyBracket: true, FilterPolicy: true,
}

// c4Policy are the phrases of policy lines.
var c4Policy = []string{"terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"}

// NewC4 returns the rule as published.
func NewC4() *C4 { r := c4Table; return &r }

// Name is "c4".
func (*C4) Name() string { return "c4" }

// Prepare checks the settings.
func (c *C4) Prepare() error {
	if c.MaxWordLength == 0 {
		return errors.New("c4: max_word_length 0 leaves no line; -1 turns the test off")
	}
	return nil
}

// fieldsOf counts the words between white space and says whether one is longer than limit code points (-1: none is).
func fieldsOf(line string, limit int) (n int, long bool) {
	start := -1
	end := func(i int) {
		n++
		if limit >= 0 && i-start > limit && utf8.RuneCountInString(line[start:i]) > limit {
			long = true
		}
		start = -1
	}
	for i, r := range line {
		if IsSpace(r) {
			if start >= 0 {
				end(i)
			}
		} else if start < 0 {
			start = i
		}
	}
	if start >= 0 {
		end(len(line))
	}
	return n, long
}

// removeCitations takes out "[12]", "[]", "[edit]" and "[citation needed]".
func removeCitations(line string) string {
	i := strings.IndexByte(line, '[')
	if i < 0 {
		return line
	}
	var b strings.Builder
	for i >= 0 {
		rest := line[i+1:]
		j := 0
		for j < len(rest) {
			r, w := utf8.DecodeRuneInString(rest[j:])
			if !unicode.Is(unicode.Nd, r) {
				break
			}
			j += w
		}
		switch {
		case strings.HasPrefix(rest[j:], "]"):
			j++
		case strings.HasPrefix(rest, "edit]"):
			j = len("edit]")
		case strings.HasPrefix(rest, "citation needed]"):
			j = len("citation needed]")
		default:
			j = -1
		}
		if j < 0 {
			b.WriteString(line[:i+1])
			line = rest
		} else {
			b.WriteString(line[:i])
			line = rest[j:]
		}
		i = strings.IndexByte(line, '[')
	}
	b.WriteString(line)
	return b.String()
}

func endsTerminal(line string) bool {
	if line == "" {
		return false
	}
	switch line[len(line)-1] {
	case '.', '?', '!', '"', '\'':
		return !strings.HasSuffix(line, "...")
	}
	return false
}

// sentenceParts cuts the text after each sentence but the last, so that the parts make up the whole text.
func sentenceParts(text string, s Splitter) []string {
	spans := s.Sentences(text)
	if len(spans) == 0 {
		return []string{text}
	}
	out := make([]string, 0, len(spans))
	start := 0
	for _, sp := range spans[:len(spans)-1] {
		out = append(out, text[start:sp.End])
		start = sp.End
	}
	return append(out, text[start:])
}

// The counters of C4.
const (
	c4Total = iota
	c4Kept
	c4LongWord
	c4NoTerminal
	c4FewWords
	c4Javascript
	c4PolicyLine
	c4Counters
)

var c4CounterNames = [c4Counters]string{"total", "kept", "filter-too_long_word", "filter-no_terminal_punc", "filter-too_few_words",
	"filter-javascript", "filter-policy"}

// Apply goes through the lines. Of a kept document the text is what is left of them.
func (c *C4) Apply(d *Doc) Verdict {
	var lines []string
	if c.SplitParagraph {
		lines = splitLines(d.Text)
	} else {
		lines = sentenceParts(d.Text, d.Splitter)
	}
	var count [c4Counters]int
	finish := func(v Verdict) Verdict {
		for i, n := range count {
			if n != 0 {
				v.Counters = append(v.Counters, Counter{c4CounterNames[i], n})
			}
		}
		return v
	}
	sentences := 0
	kept := lines[:0]
	for _, line := range lines {
		line = strip(line)
		count[c4Total]++
		words, long := fieldsOf(line, c.MaxWordLength)
		if long {
			count[c4LongWord]++
			continue
		}
		if c.RemoveCitations {
			line = removeCitations(line)
		}
		if c.FilterNoTerminalPunct && !endsTerminal(line) {
			count[c4NoTerminal]++
			continue
		}
		if words < c.MinWordsPerLine {
			count[c4FewWords]++
			continue
		}
		low := lower(line)
		if c.FilterLoremIpsum && strings.Contains(low, "lorem ipsum") {
			return finish(Verdict{Reason: "lorem_ipsum", Value: "lorem ipsum", Threshold: "none"})
		}
		if c.FilterJavascript && strings.Contains(low, "javascript") {
			count[c4Javascript]++
			continue
		}
		if c.FilterCurlyBracket && strings.Contains(line, "{") {
			return finish(Verdict{Reason: "curly_bracket", Value: "{", Threshold: "none"})
		}
		if c.FilterPolicy && hasPolicy(low) {
			count[c4PolicyLine]++
			continue
		}
		if sentences < c.MinNumSentences { // enough are enough: only a text that has too few reports its count
			if c.SplitParagraph {
				sentences += max(1, len(d.Splitter.Sentences(line)))
			} else {
				sentences++
			}
		}
		kept = append(kept, line)
		count[c4Kept]++
	}
	if sentences < c.MinNumSentences {
		return finish(Verdict{Reason: "too_few_sentences", Value: strconv.Itoa(sentences), Threshold: strconv.Itoa(c.MinNumSentences)})
	}
	sep := " "
	if c.SplitParagraph {
		sep = "\n"
	}
	return finish(Verdict{Keep: true, Text: strip(strings.Join(kept, sep))})
}

func hasPolicy(low string) bool {
	for _, p := range c4Policy {
		if strings.Contains(low, p) {
			return true
		}
	}
	return false
}
