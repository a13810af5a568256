package rules

// Table lists every rule. A program adds its own by [Register].
var Table = []Entry{
	{"gopher_repetition", func() Rule { return NewGopherRepetition() }, "Rae et al. 2021, table A1"},
	{"gopher_quality", func() Rule { return NewGopherQuality() }, "Rae et al. 2021, A1.1"},
	{"c4", func() Rule { return NewC4() }, "Raffel et al. 2020, 2.2"},
	{"c4_paragraph", func() Rule { return NewC4Paragraph() }, "Xue et al. 2021, 3.1"},
	{"fineweb_quality", func() Rule { return NewFineWebQuality() }, "Penedo et al. 2024, 3.5"},
	{"language", func() Rule { return NewLanguage() }, "Penedo et al. 2024, 3.3"},
	{"length", func() Rule { return NewLength() }, "bounds of the recipe"},
	{"url_filter", func() Rule { return NewURLFilter() }, "Penedo et al. 2023, G.1"},
	{"unigram_log_prob", func() Rule { return NewUnigramLogProb() }, "Soldaini and Lo 2023 (peS2o)"},
	{"rare_words", func() Rule { return NewRareWords() }, "Merity et al. 2016, 4.3"},
	{"decontamination", func() Rule { return NewDecontamination() }, "Brown et al. 2020, appendix C"},
	{"pii", func() Rule { return NewPII() }, "Penedo et al. 2024, 3.7"},
	{"symbol_lines", func() Rule { return NewSymbolLines() }, "datatrove"},
	{"ftfy", func() Rule { return NewFTFY() }, "Speer 2019 (ftfy)"},
	{"unicode_normalization", func() Rule { return NewUnicodeNormalization() }, "Unicode Standard Annex 15"},
	{"html_text", func() Rule { return NewHTMLText() }, "Mozilla Readability"},
	{"markdown_text", func() Rule { return NewMarkdownText() }, "CommonMark 0.31"},
}
