package rules

// Table lists every rule.
var Table = []Entry{
	{"gopher_repetition", func() Rule { return NewGopherRepetition() }, "Rae et al. 2021, table A1"},
	{"gopher_quality", func() Rule { return NewGopherQuality() }, "Rae et al. 2021, A1.1"},
	{"c4", func() Rule { return NewC4() }, "Raffel et al. 2020, 2.2"},
	{"c4_paragraph", func() Rule { return NewC4Paragraph() }, "Xue et al. 2021, 3.1"},
	{"fineweb_quality", func() Rule { return NewFineWebQuality() }, "Penedo et al. 2024, 3.5"},
}
